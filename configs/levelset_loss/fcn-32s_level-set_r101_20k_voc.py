"""FCN-32s on Pascal VOC 2012 with SBD with the level-set loss."""

_base_ = ["./fcn-32s_r101_20k_voc.py"]
model = dict(decode_head=dict(loss_decode=[{{_base_.cross_entropy}}, {{_base_.level_set}}]))
