"""DeepLab-v2 with inputs of three scales on Cityscapes with the level-set loss."""

_base_ = ["./deeplabv2-msc_r101_20k_cityscapes.py"]
model = dict(decode_head=dict(loss_decode=[{{_base_.cross_entropy}}, {{_base_.level_set}}]))
