"""BoxLevelSet on LiTS as in the paper, Table 5.

The schedule is iSAID's, and the threshold of masks is ours: neither the paper nor the authors' code
has them.
"""

_base_ = [
    "../_base_/models/box-levelset_r50_fpn.py",
    "../_base_/datasets/lits_boxes.py",
    "../_base_/schedules/adamw_1x_isaid.py",
    "../_base_/default_runtime.py",
]
model = dict(mask_head=dict(num_classes=2), test_cfg=dict(mask_thr=0.5))
