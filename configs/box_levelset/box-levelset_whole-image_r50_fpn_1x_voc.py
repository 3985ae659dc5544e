"""The energy over the whole image instead of the box (the paper's Table 6, last row)."""

_base_ = ["./box-levelset_r50_fpn_1x_voc.py"]
model = dict(mask_head=dict(loss_level_set=dict(domain="image")))
