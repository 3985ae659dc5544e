"""BoxLevelSet on LiTS as in the paper, Table 5.

Neither the paper nor the authors' code has a schedule or a threshold of masks for LiTS. The
schedule is iSAID's; the threshold is our choice.
"""

_base_ = [
    "../_base_/models/box-levelset_r50_fpn.py",
    "../_base_/datasets/lits_boxes.py",
    "../_base_/schedules/adamw_1x_isaid.py",
    "../_base_/default_runtime.py",
]
model = dict(mask_head=dict(num_classes=2), test_cfg=dict(mask_thr=0.5))
