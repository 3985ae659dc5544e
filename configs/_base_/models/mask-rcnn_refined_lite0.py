"""The small Mask R-CNN for photographs with refined masks, on a grid of 112 x 112."""

_base_ = ["./mask-rcnn_refined_small.py", "./lite0_photographs.py"]
model = dict(
    **_base_.lite0,
    rpn_head=dict(anchor_generator=dict(scales=[8])),
    roi_head=dict(
        bbox_roi_extractor=dict(finest_scale=56),
        mask_roi_extractor=dict(finest_scale=56),
        mask_head=dict(mask_size=112),
    ),
)
lite0 = dict(_delete_=True)
