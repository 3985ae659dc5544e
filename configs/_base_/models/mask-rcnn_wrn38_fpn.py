"""Mask R-CNN with WideResNet-38 and FPN; the backbone as in levelset-rcnn_wrn38_fpn.py."""

_base_ = ["mmdet::_base_/models/mask-rcnn_r50_fpn.py"]
model = dict(
    backbone=dict(
        _delete_=True,
        type="mmlevelset.WideResNet38",
        base_channels=64,
        stage_with_dcn=(False, False, True, True, True, True),
        frozen_stages=3,
        norm_cfg=dict(type="BN", requires_grad=True),
        norm_eval=True,
        with_cp=False,
        init_cfg=dict(
            type="mmlevelset.Pretrained", checkpoint="data/pretrained/wide_resnet38_imagenet.pth"
        ),
    ),
    neck=dict(in_channels=[256, 512, 1024, 4096]),
)
