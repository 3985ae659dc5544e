"""CRLS on VGG-16, as in the paper: 13 convolutions, 9 anchors, and VGG's fully connected layers.

The first two stages do not learn, as in Faster R-CNN, on which the paper builds. The losses of the
RoIs have gradients to the proposals' boxes, as the paper's section 4 has it.
"""

_base_ = ["./crls_r50_fpn.py"]
checkpoint = "https://download.pytorch.org/models/vgg16-397923af.pth"
model = dict(
    backbone=dict(
        _delete_=True,
        type="mmlevelset.CRLSVGG",
        depth=16,
        frozen_stages=2,
        init_cfg=dict(type="mmlevelset.Pretrained", checkpoint=checkpoint),
    ),
    neck=None,
    rpn_head=dict(
        in_channels=512,
        feat_channels=512,
        anchor_generator=dict(scales=[8, 16, 32], ratios=[0.5, 1.0, 2.0], strides=[16]),
    ),
    roi_head=dict(
        bbox_roi_extractor=dict(out_channels=512, featmap_strides=[16], box_gradient=1.0),
        mask_head=dict(in_channels=512),
        bbox_head=dict(
            in_channels=512,
            pool="max",
            fc_out_channels=4096,
            dropout_ratio=0.5,
            fc_init_cfg=dict(
                type="mmlevelset.Pretrained",
                prefix="classifier",
                checkpoint=checkpoint,
                option="model.roi_head.bbox_head.fc_init_cfg.checkpoint",
            ),
        ),
    ),
    train_cfg=dict(rpn_proposal=dict(nms_pre=10000)),
    test_cfg=dict(rpn=dict(nms_pre=10000)),
)
