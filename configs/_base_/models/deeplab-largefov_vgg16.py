"""DeepLab-LargeFOV on VGG-16, whose fully connected layers start fc6 and fc7."""

_base_ = ["./fcn-32s_r101.py"]
model = dict(
    stride=8,
    backbone=dict(
        _delete_=True,
        type="mmlevelset.DeepLabVGG",
        depth=16,
        base_channels=64,
        average_pool=True,
        init_cfg=dict(
            type="mmlevelset.Pretrained",
            checkpoint="https://download.pytorch.org/models/vgg16-397923af.pth",
        ),
    ),
    decode_head=dict(
        _delete_=True,
        type="mmlevelset.LargeFOVHead",
        in_channels=512,
        fc_channels=1024,
        kernel_size=3,
        dilation=12,
        num_classes=21,
        dropout_ratio=0.5,
        loss_size="logits",
        align_corners=True,
        loss_decode={{_base_.model.decode_head.loss_decode}},
        monitor={{_base_.model.decode_head.monitor}},
        init_cfg=dict(
            type="mmlevelset.DecimatedVGG",
            checkpoint="https://download.pytorch.org/models/vgg16-397923af.pth",
        ),
    ),
)
