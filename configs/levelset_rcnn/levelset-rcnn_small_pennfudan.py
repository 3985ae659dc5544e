"""LevelSet R-CNN from scratch on 110 photographs in COCO's layout: minutes on a CPU."""

_base_ = [
    "../_base_/models/levelset-rcnn_small.py",
    "../_base_/datasets/pennfudan_instance.py",
    "../_base_/schedules/scratch_small_40e.py",
    "../_base_/default_runtime.py",
]
default_hooks = dict(checkpoint=dict(interval=10))
model = dict(
    rpn_head=dict(anchor_generator=dict(scales=[8], ratios=[1.0, 2.0, 3.0])),
    roi_head=dict(
        bbox_roi_extractor=dict(finest_scale=56),
        bbox_head=dict(num_classes=1),
        mask_roi_extractor=dict(finest_scale=56),
        mask_head=dict(
            num_classes=1,
            mask_size=112,
            feature_head=dict(num_convs=1, upsample_channels=(32, 16, 8)),
            initial_weight=0.25,
            final_weight=0.25,
        ),
    ),
)
