"""Mask R-CNN on COCO in LevelSet R-CNN's schedule: the paper's baseline, with boundary F1."""

_base_ = [
    "../_base_/models/mask-rcnn_r50_fpn.py",
    "../_base_/datasets/coco_instance.py",
    "../_base_/schedules/iterations_90k.py",
    "../_base_/iteration_runtime.py",
]
train_dataloader = dict(sampler=dict(type="InfiniteSampler", shuffle=True))
