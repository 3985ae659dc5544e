"""A small RTMDet-Ins from boxes that trains from scratch on a CPU: its head on a ResNet and FPN."""

_base_ = ["./box-rtmdet-ins_s.py"]
norm = dict(type="GN", num_groups=8, requires_grad=True)
model = dict(
    data_preprocessor=dict(
        mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], bgr_to_rgb=True
    ),
    backbone=dict(
        _delete_=True,
        type="ResNet",
        depth=18,
        base_channels=32,
        stem_channels=32,
        frozen_stages=-1,
        norm_cfg=norm,
        norm_eval=False,
        init_cfg=None,
    ),
    neck=dict(
        _delete_=True,
        type="FPN",
        in_channels=[32, 64, 128, 256],
        out_channels=64,
        start_level=1,
        num_outs=3,
    ),
    bbox_head=dict(in_channels=64, feat_channels=64, norm_cfg=norm),
)
del norm
