"""Not in the paper: the projection alone for the first three epochs, then the energy too."""

_base_ = ["./box-levelset_r50_fpn_3x_voc.py"]
model = dict(mask_head=dict(warmup_iters=4000))
