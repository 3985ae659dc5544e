"""CRLS with ResNet-50 and FPN. Every value that an ablation changes stands here.

As printed: 300 proposals, NMS at 0.7, masks of 21 x 21, and for the proposals smooth L1 with lambda
/ N_reg = 10 / 2400 (mmdet divides by N_cls = 256 sampled anchors). The paper builds on Faster
R-CNN, so ``beta`` is that of its code (with 1 the gradients of small errors are a ninth). Sampling,
NMS of the detections and widths are our choice: the paper has none. Features of a pyramid have both
signs, so they are pooled by their mean.
"""

_base_ = ["mmdet::_base_/models/mask-rcnn_r50_fpn.py"]
model = dict(
    type="mmlevelset.CRLS",
    backbone=dict(
        init_cfg=dict(
            type="Pretrained",
            checkpoint="https://download.pytorch.org/models/resnet50-0676ba61.pth",
        )
    ),
    rpn_head=dict(
        type="mmlevelset.CRLSRPNHead",
        loss_cls=dict(use_sigmoid=False),
        loss_bbox=dict(_delete_=True, type="SmoothL1Loss", beta=1 / 9, loss_weight=256 * 10 / 2400),
    ),
    roi_head=dict(
        _delete_=True,
        type="mmlevelset.CRLSRoIHead",
        mask_boxes="proposals",
        bbox_roi_extractor=dict(
            type="mmlevelset.RoIWarp",
            warp="grid_sample",
            output_size=21,
            sampling_ratio=0,
            box_gradient=0.0,
            out_channels=256,
            featmap_strides=[4, 8, 16, 32],
        ),
        mask_head=dict(
            type="mmlevelset.CRLSMaskHead",
            in_channels=256,
            roi_feat_size=21,
            num_convs=0,
            conv_out_channels=256,
            standardise=True,
            loss_weight=1.0,
            network=dict(
                type="mmlevelset.RecurrentLevelSet",
                gate="dense",
                size=(21, 21),
                in_channels=1,
                hidden_channels=1,
                num_steps=5,
                tied=True,
                initial="random",
                num_discs=1,
                reduction="sum",
                eps=0.1,
                eta=1e-4,
                supervise="last",
            ),
        ),
        bbox_head=dict(
            type="mmlevelset.CRLSBBoxHead",
            in_channels=256,
            pool_size=7,
            pool="mean",
            fc_out_channels=1024,
            dropout_ratio=0.0,
            num_classes=80,
            bbox_coder=dict(
                type="DeltaXYWHBBoxCoder",
                target_means=[0.0, 0.0, 0.0, 0.0],
                target_stds=[0.1, 0.1, 0.2, 0.2],
            ),
            reg_class_agnostic=False,
            loss_cls=dict(type="CrossEntropyLoss", use_sigmoid=False, loss_weight=1.0),
            loss_bbox=dict(type="SmoothL1Loss", beta=1.0, loss_weight=1.0),
        ),
    ),
    train_cfg=dict(
        rpn_proposal=dict(max_per_img=300),
        rcnn=dict(sampler=dict(num=128, pos_fraction=0.25)),
    ),
    test_cfg=dict(rpn=dict(max_per_img=300)),
)
