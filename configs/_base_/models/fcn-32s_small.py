"""A small FCN-32s that trains from scratch on a CPU."""

_base_ = ["./fcn-32s_r101.py"]
model = dict(
    backbone=dict(
        depth=18,
        base_channels=32,
        stem_channels=32,
        norm_cfg=dict(type="GN", num_groups=8),
        norm_eval=False,
        init_cfg=None,
    ),
    decode_head=dict(in_channels=[32, 64, 128, 256]),
)
