"""LevelSet R-CNN from scratch on photographs in COCO layout: 110 of them, minutes on a CPU."""

_base_ = [
    "../_base_/models/levelset-rcnn_small.py",
    "../_base_/datasets/pennfudan_instance.py",
    "../_base_/schedules/scratch_small.py",
    "../_base_/default_runtime.py",
]
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
max_epochs = 40
train_cfg = dict(max_epochs=max_epochs, val_interval=10)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.01, by_epoch=False, begin=0, end=50),
    dict(type="CosineAnnealingLR", by_epoch=True, T_max=max_epochs, convert_to_iter_based=True),
]
default_hooks = dict(checkpoint=dict(interval=10))
