"""The small LevelSet R-CNN for photographs; phi and the features on a grid of 112 x 112.

The mask branch has twice the multiplications of Mask R-CNN's.
"""

_base_ = ["./levelset-rcnn_small.py", "./lite0_photographs.py"]
model = dict(
    **_base_.lite0,
    rpn_head=dict(anchor_generator=dict(scales=[8])),
    roi_head=dict(
        bbox_roi_extractor=dict(finest_scale=56),
        mask_roi_extractor=dict(finest_scale=56),
        mask_head=dict(
            mask_size=112,
            feature_head=dict(upsample_channels=(16, 8, 4)),
        ),
    ),
)
