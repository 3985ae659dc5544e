"""A small DeepLab-v2 that trains from scratch on a CPU; losses at the size of the labels."""

_base_ = ["./deeplabv2_r101.py"]
model = dict(
    backbone=dict(
        depth=18,
        base_channels=32,
        stem_channels=32,
        norm_cfg=dict(type="GN", num_groups=8, requires_grad=True),
        norm_eval=False,
        init_cfg=None,
    ),
    decode_head=dict(dilations=(1, 2, 3, 4), in_channels=256, loss_size="full"),
)
