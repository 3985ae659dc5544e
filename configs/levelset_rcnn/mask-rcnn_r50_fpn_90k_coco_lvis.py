"""mask-rcnn_r50_fpn_90k_coco.py, tested on LVIS's masks of the same images too (Table 2)."""

_base_ = [
    "../_base_/models/mask-rcnn_r50_fpn.py",
    "../_base_/datasets/lvis_coco_categories.py",
    "../_base_/schedules/iterations_90k.py",
    "../_base_/iteration_runtime.py",
]
train_dataloader = dict(sampler=dict(type="InfiniteSampler", shuffle=True))
