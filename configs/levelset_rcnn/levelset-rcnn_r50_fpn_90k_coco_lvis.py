"""levelset-rcnn_r50_fpn_90k_coco.py, tested on LVIS's masks of the same images too (Table 2)."""

_base_ = [
    "../_base_/models/levelset-rcnn_r50_fpn.py",
    "../_base_/datasets/lvis_coco_categories.py",
    "../_base_/schedules/iterations_90k.py",
    "../_base_/iteration_runtime.py",
]
model = dict(roi_head=dict(mask_head=dict(initial_weight=0.2, final_weight=1.0)))
train_dataloader = dict(sampler=dict(type="InfiniteSampler", shuffle=True))
