"""The small Mask2Former from boxes for photographs: EfficientNet-Lite0 with ImageNet weights."""

_base_ = ["./box-mask2former_small.py", "./lite0_photographs.py"]
model = dict(
    data_preprocessor=_base_.lite0.data_preprocessor,
    backbone=_base_.lite0.backbone,
    panoptic_head=dict(in_channels=[24, 40, 112, 320]),
)
