"""Mask R-CNN on Cityscapes in LevelSet R-CNN's schedule: the paper's baseline, with boundary F1."""

_base_ = [
    "../_base_/models/mask-rcnn_r50_fpn.py",
    "../_base_/datasets/cityscapes_instance.py",
    "../_base_/schedules/iterations_24k.py",
    "../_base_/iteration_runtime.py",
]
model = dict(
    roi_head=dict(bbox_head=dict(num_classes=8), mask_head=dict(num_classes=8, roi_feat_size=14)),
)
