"""The small Mask R-CNN for photographs: EfficientNet-Lite0 with ImageNet weights."""

_base_ = ["./mask-rcnn_small.py", "./lite0_photographs.py"]
model = dict(
    **_base_.lite0,
    rpn_head=dict(anchor_generator=dict(scales=[8])),
    roi_head=dict(
        bbox_roi_extractor=dict(finest_scale=56),
        mask_roi_extractor=dict(finest_scale=56),
    ),
)
lite0 = dict(_delete_=True)
