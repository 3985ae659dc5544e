"""Mask R-CNN on EfficientNet-Lite0 with ImageNet weights, on objects of any kind."""

_base_ = [
    "../_base_/models/mask-rcnn_lite0.py",
    "../_base_/datasets/coco128_objects.py",
    "../_base_/schedules/light_12e.py",
    "../_base_/light_runtime.py",
]
model = dict(roi_head=dict(bbox_head=dict(num_classes=1), mask_head=dict(num_classes=1)))
