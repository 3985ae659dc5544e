"""A small BoxLevelSet that trains from scratch on a CPU, for images of 128 x 128.

Masks of the first two levels train at a quarter of the image's size, of the third at an eighth, of
the others at a sixteenth. The ranges of sizes keep nearly all objects at a quarter.
"""

_base_ = ["./box-levelset_r50_fpn.py"]
model = dict(
    backbone=dict(
        depth=18,
        base_channels=32,
        stem_channels=32,
        frozen_stages=-1,
        norm_cfg=dict(type="GN", num_groups=8),
        norm_eval=False,
        init_cfg=None,
    ),
    neck=dict(in_channels=[32, 64, 128, 256], out_channels=64),
    mask_head=dict(
        in_channels=64,
        feat_channels=64,
        stacked_convs=2,
        scale_ranges=((1, 32), (16, 96), (64, 160), (128, 320), (256, 2048)),
        num_grids=[16, 12, 8, 6, 4],
        mask_feature_head=dict(feat_channels=64, out_channels=64),
    ),
)
