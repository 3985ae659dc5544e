"""A small CRLS that trains from scratch on a CPU, with the paper's three stages.

It differs from the paper's network for the sake of so short a training: convolutions make the image
of the level set and its gates, in place of matrices over all pixels; phi_0 is a disc, not noise;
each step has a loss; boxes are regressed by the L1 loss, as in the small Mask R-CNN; masks are made
once more in the regressed boxes.
"""

_base_ = ["./crls_r50_fpn.py"]
model = dict(
    backbone=dict(
        depth=18,
        base_channels=32,
        stem_channels=32,
        frozen_stages=-1,
        norm_cfg=dict(_delete_=True, type="GN", num_groups=8),
        norm_eval=False,
        init_cfg=None,
    ),
    neck=dict(in_channels=[32, 64, 128, 256], out_channels=64, num_outs=4),
    rpn_head=dict(
        in_channels=64,
        feat_channels=64,
        anchor_generator=dict(scales=[4], strides=[4, 8, 16, 32]),
        loss_bbox=dict(_delete_=True, type="L1Loss", loss_weight=1.0),
    ),
    roi_head=dict(
        mask_boxes="detections",
        bbox_roi_extractor=dict(out_channels=64, finest_scale=28),
        mask_head=dict(
            in_channels=64,
            num_convs=2,
            conv_out_channels=64,
            network=dict(
                gate="conv",
                size=None,
                in_channels=8,
                hidden_channels=8,
                initial="discs",
                reduction="none",
                supervise="all",
            ),
        ),
        bbox_head=dict(
            in_channels=64,
            fc_out_channels=256,
            loss_bbox=dict(_delete_=True, type="L1Loss", loss_weight=1.0),
        ),
    ),
    train_cfg=dict(
        rpn=dict(sampler=dict(num=64)),
        rpn_proposal=dict(nms_pre=200, max_per_img=100),
        rcnn=dict(sampler=dict(num=32)),
    ),
    test_cfg=dict(rpn=dict(nms_pre=200, max_per_img=100), rcnn=dict(max_per_img=50)),
)
