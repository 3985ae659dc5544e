"""LevelSet R-CNN on COCO, ours: narrow heads, and the RoI's pixels as features of the evolution."""

_base_ = [
    "../_base_/models/levelset-rcnn_light_r50_fpn.py",
    "../_base_/datasets/coco_instance.py",
    "../_base_/schedules/iterations_90k.py",
    "../_base_/iteration_runtime.py",
]
train_dataloader = dict(sampler=dict(type="InfiniteSampler", shuffle=True))
