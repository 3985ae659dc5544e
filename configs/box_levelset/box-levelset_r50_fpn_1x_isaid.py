"""BoxLevelSet on iSAID as in the paper, Table 4."""

_base_ = [
    "../_base_/models/box-levelset_r50_fpn.py",
    "../_base_/datasets/isaid_boxes.py",
    "../_base_/schedules/adamw_1x_isaid.py",
    "../_base_/default_runtime.py",
]
model = dict(mask_head=dict(num_classes=15), test_cfg=dict(mask_thr=0.45))
