"""Mask R-CNN with WideResNet-38: the baseline of the paper's Table 5."""

_base_ = [
    "../_base_/models/mask-rcnn_wrn38_fpn.py",
    "../_base_/datasets/cityscapes_instance.py",
    "../_base_/schedules/iterations_24k.py",
    "../_base_/iteration_runtime.py",
]
model = dict(roi_head=dict(bbox_head=dict(num_classes=8), mask_head=dict(num_classes=8)))
