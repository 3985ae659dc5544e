"""FCN-32s on Pascal-Context with the level-set loss."""

_base_ = ["./fcn-32s_r101_20k_context.py"]
model = dict(decode_head=dict(loss_decode=[{{_base_.cross_entropy}}, {{_base_.level_set}}]))
