"""The projection loss alone (the paper's Table 6, first row)."""

_base_ = ["./box-levelset_r50_fpn_1x_voc.py"]
model = dict(mask_head=dict(loss_level_set=None))
