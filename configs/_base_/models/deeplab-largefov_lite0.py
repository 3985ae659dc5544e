"""DeepLab-LargeFOV's head for photographs, on a dilated EfficientNet-Lite0 of stride 16.

Dilation 6 at stride 16 sees what the paper's dilation 12 sees at stride 8.
"""

_base_ = ["./deeplab-largefov_small.py", "./lite0_photographs.py"]
model = dict(
    stride=16,
    data_preprocessor=_base_.lite0.data_preprocessor,
    backbone=dict(_base_.lite0.backbone, out_indices=(7,), output_stride=16),
    decode_head=dict(in_channels=320, dilation=6),
)
lite0 = dict(_delete_=True)
