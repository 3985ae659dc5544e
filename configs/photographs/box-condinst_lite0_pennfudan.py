"""CondInst on EfficientNet-Lite0 with ImageNet weights: pedestrians from boxes, by our losses."""

_base_ = [
    "../_base_/models/box-condinst_lite0.py",
    "../_base_/datasets/pennfudan_boxes.py",
    "../_base_/schedules/light_8e.py",
    "../_base_/light_runtime.py",
]
model = dict(
    backbone=dict(frozen_stages=5),
    bbox_head=dict(num_classes=1),
    mask_head=dict(
        box_supervision=dict(
            warmup_iters=110,
            loss_level_set=dict(image_weight=0.2, image_space="lab", detach_features=True),
            loss_pairwise=dict(loss_weight=3.0, warmup_iters=50),
        )
    ),
)
