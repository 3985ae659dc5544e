"""Mask R-CNN with refined masks on COCO, trained together in mmdet's 1x schedule."""

_base_ = [
    "../_base_/models/mask-rcnn_refined_r50_fpn.py",
    "../_base_/datasets/coco_instance.py",
    "mmdet::_base_/schedules/schedule_1x.py",
    "../_base_/default_runtime.py",
]
