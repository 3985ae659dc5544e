"""Mask R-CNN with masks of 56 x 56, the resolution of levelset-rcnn_shapes.py."""

_base_ = ["./mask-rcnn_shapes.py"]
model = dict(
    roi_head=dict(
        mask_roi_extractor=dict(roi_layer=dict(output_size=28)),
        mask_head=dict(roi_feat_size=28),
    ),
    train_cfg=dict(rcnn=dict(mask_size=56)),
)
