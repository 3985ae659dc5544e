"""The energy of the image alone (the paper's Table 6, second row)."""

_base_ = ["./box-levelset_r50_fpn_1x_voc.py"]
model = dict(mask_head=dict(loss_level_set=dict(feature_weight=0.0)))
