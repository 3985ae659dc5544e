"""BoxLevelSet with ResNet-101 and deformable convolutions on Pascal VOC.

As in the authors' code, the backbone has deformable convolutions of the first version, the head of
the second.
"""

_base_ = ["./box-levelset_r101_fpn_3x_voc.py"]
model = dict(
    backbone=dict(
        dcn=dict(type="DCN", deform_groups=1, fallback_on_stride=False),
        stage_with_dcn=(False, True, True, True),
    ),
    mask_head=dict(
        dcn_cfg=dict(type="DCNv2"),
        mask_feature_head=dict(conv_cfg=dict(type="DCNv2")),
    ),
)
