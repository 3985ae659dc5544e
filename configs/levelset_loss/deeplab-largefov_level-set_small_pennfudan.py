"""The same with the level-set loss."""

_base_ = ["./deeplab-largefov_small_pennfudan.py"]
model = dict(decode_head=dict(loss_decode=[{{_base_.cross_entropy}}, {{_base_.level_set}}]))
