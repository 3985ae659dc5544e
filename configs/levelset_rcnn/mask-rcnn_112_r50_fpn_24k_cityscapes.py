"""Mask R-CNN with masks of 112 x 112 from RoI features of 56 x 56 (the paper's ablation)."""

_base_ = ["./mask-rcnn_r50_fpn_24k_cityscapes.py"]
model = dict(
    roi_head=dict(
        mask_roi_extractor=dict(roi_layer=dict(output_size=56)),
        mask_head=dict(roi_feat_size=56),
    ),
    train_cfg=dict(rcnn=dict(mask_size=112)),
)
