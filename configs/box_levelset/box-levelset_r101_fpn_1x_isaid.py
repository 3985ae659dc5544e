"""BoxLevelSet with ResNet-101 on iSAID."""

_base_ = ["./box-levelset_r50_fpn_1x_isaid.py"]
model = dict(
    backbone=dict(
        depth=101,
        init_cfg=dict(checkpoint="https://download.pytorch.org/models/resnet101-63fe2227.pth"),
    )
)
