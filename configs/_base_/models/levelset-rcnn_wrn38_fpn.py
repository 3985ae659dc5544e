"""LevelSet R-CNN with WideResNet-38 and FPN.

Put the ImageNet weights where ``checkpoint`` says. As in ResNet, batch norm keeps their statistics
and the layers up to stride 4 do not learn; this is our choice.
"""

_base_ = ["./levelset-rcnn_r50_fpn.py"]
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
