"""A small CondInst from boxes that trains from scratch on a CPU."""

_base_ = ["./box-condinst_r50_fpn.py"]
norm = dict(type="GN", num_groups=8, requires_grad=True)
model = dict(
    backbone=dict(
        depth=18,
        base_channels=32,
        stem_channels=32,
        frozen_stages=-1,
        norm_cfg=norm,
        norm_eval=False,
        init_cfg=None,
    ),
    neck=dict(in_channels=[32, 64, 128, 256], out_channels=64, num_outs=3),
    bbox_head=dict(
        num_params=169,
        in_channels=64,
        feat_channels=64,
        stacked_convs=2,
        norm_cfg=norm,
        strides=[8, 16, 32],
        regress_ranges=((-1, 64), (64, 128), (128, 1e8)),
    ),
    mask_head=dict(
        feat_channels=8,
        mask_feature_head=dict(
            in_channels=64, feat_channels=64, out_channels=8, num_stacked_convs=2, norm_cfg=norm
        ),
    ),
)
del norm
