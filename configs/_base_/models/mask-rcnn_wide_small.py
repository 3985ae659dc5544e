"""The small Mask R-CNN on a WideResNet-38 of an eighth of the width."""

_base_ = ["./mask-rcnn_small.py"]
model = dict(
    backbone=dict(
        _delete_=True,
        type="mmlevelset.WideResNet38",
        base_channels=8,
        norm_cfg=dict(type="GN", num_groups=8),
    ),
    neck=dict(in_channels=[32, 64, 128, 512]),
)
