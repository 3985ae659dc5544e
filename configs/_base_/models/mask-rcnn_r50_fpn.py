"""mmdet's Mask R-CNN, with torchvision's ImageNet weights by their address."""

_base_ = ["mmdet::_base_/models/mask-rcnn_r50_fpn.py"]
model = dict(
    backbone=dict(
        init_cfg=dict(
            type="Pretrained",
            checkpoint="https://download.pytorch.org/models/resnet50-0676ba61.pth",
        )
    )
)
