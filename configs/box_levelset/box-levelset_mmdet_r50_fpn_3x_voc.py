"""BoxLevelSet on the layers and widths of mmdet's SOLOv2; not in the paper."""

_base_ = ["./box-levelset_r50_fpn_3x_voc.py"]
model = dict(
    mask_head=dict(
        architecture="mmdet",
        feat_channels=512,
        mask_feature_head=dict(
            feat_channels=128, norm_cfg=dict(type="GN", num_groups=32, requires_grad=True)
        ),
    )
)
