"""DeepLab-LargeFOV with inputs of three scales on Pascal-Context with the level-set loss."""

_base_ = ["./deeplab-msc-largefov_vgg16_20k_context.py"]
model = dict(decode_head=dict(loss_decode=[{{_base_.cross_entropy}}, {{_base_.level_set}}]))
