"""DeepLab-v2 on ResNet-101: dilated to stride 8, frozen batch norm, four dilated classifiers.

As DeepLab was trained, labels are shrunk to the logits and the losses are taken there: crops of 321
have 41 x 41 logits.
"""

_base_ = ["./fcn-32s_r101.py"]
model = dict(
    stride=8,
    backbone=dict(
        strides=(1, 2, 1, 1),
        dilations=(1, 1, 2, 4),
        out_indices=(3,),
        norm_cfg=dict(requires_grad=False),
    ),
    decode_head=dict(
        _delete_=True,
        type="mmlevelset.ASPPHead",
        dilations=(6, 12, 18, 24),
        in_channels=2048,
        num_classes=21,
        dropout_ratio=0.0,
        loss_size="logits",
        align_corners=True,
        loss_decode={{_base_.model.decode_head.loss_decode}},
        monitor={{_base_.model.decode_head.monitor}},
    ),
)
