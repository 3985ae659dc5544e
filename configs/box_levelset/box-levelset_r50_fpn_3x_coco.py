"""BoxLevelSet on COCO: 16 images a step, on 8 GPUs with two each."""

_base_ = [
    "../_base_/models/box-levelset_r50_fpn.py",
    "../_base_/datasets/coco_boxes.py",
    "../_base_/schedules/adamw_3x_coco.py",
    "../_base_/default_runtime.py",
]
model = dict(test_cfg=dict(mask_thr=0.55))
