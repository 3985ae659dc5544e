"""The projection loss alone, without a level set."""

_base_ = ["./box-levelset_shapes.py"]
model = dict(mask_head=dict(loss_level_set=None))
