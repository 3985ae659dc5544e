"""FCN-16s on Cityscapes with the level-set loss."""

_base_ = ["./fcn-16s_r101_20k_cityscapes.py"]
model = dict(decode_head=dict(loss_decode=[{{_base_.cross_entropy}}, {{_base_.level_set}}]))
