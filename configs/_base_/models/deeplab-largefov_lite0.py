"""DeepLab-LargeFOV's head for photographs, on a dilated EfficientNet-Lite0 of stride 8."""

_base_ = ["./deeplab-largefov_small.py", "./lite0_photographs.py"]
model = dict(
    data_preprocessor=_base_.lite0.data_preprocessor,
    backbone=dict(_base_.lite0.backbone, out_indices=(7,), output_stride=8),
    decode_head=dict(in_channels=320),
)
lite0 = dict(_delete_=True)
