"""DeepLab-v2 with inputs of three scales on Pascal VOC 2012 with SBD with the level-set loss."""

_base_ = ["./deeplabv2-msc_r101_20k_voc.py"]
model = dict(decode_head=dict(loss_decode=[{{_base_.cross_entropy}}, {{_base_.level_set}}]))
