"""The same with the level-set loss."""

_base_ = ["./fcn-32s_small_coco128.py"]
model = dict(decode_head=dict(loss_decode=[{{_base_.cross_entropy}}, {{_base_.level_set}}]))
