"""RTMDet-Ins on EfficientNet-Lite0 with ImageNet weights: pedestrians from boxes, our losses."""

_base_ = [
    "../_base_/models/box-rtmdet-ins_lite0.py",
    "../_base_/datasets/pennfudan_boxes.py",
    "../_base_/schedules/light_8e.py",
    "../_base_/light_runtime.py",
]
model = dict(
    backbone=dict(frozen_stages=5),
    bbox_head=dict(
        num_classes=1,
        box_supervision=dict(
            warmup_iters=110,
            loss_level_set=dict(image_weight=0.5, image_space="lab", detach_features=True),
            loss_pairwise=dict(loss_weight=3.0, warmup_iters=50),
        ),
    ),
)
