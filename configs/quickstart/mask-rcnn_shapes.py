"""Mask R-CNN on generated shapes."""

_base_ = [
    "../_base_/models/mask-rcnn_small.py",
    "../_base_/datasets/shapes_instance.py",
    "../_base_/schedules/scratch_small.py",
    "../_base_/default_runtime.py",
]
model = dict(
    roi_head=dict(bbox_head=dict(num_classes=4), mask_head=dict(num_classes=4, roi_feat_size=14))
)
randomness = dict(seed=0)
