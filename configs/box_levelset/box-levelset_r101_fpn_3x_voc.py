"""BoxLevelSet with ResNet-101 on Pascal VOC."""

_base_ = ["./box-levelset_r50_fpn_3x_voc.py"]
model = dict(
    backbone=dict(
        depth=101,
        init_cfg=dict(checkpoint="https://download.pytorch.org/models/resnet101-63fe2227.pth"),
    )
)
