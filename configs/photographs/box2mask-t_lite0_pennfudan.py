"""Box2Mask-T on EfficientNet-Lite0 with ImageNet weights: pedestrians from boxes, our losses."""

_base_ = [
    "../_base_/models/box-mask2former_lite0.py",
    "../_base_/datasets/pennfudan_boxes.py",
    "../_base_/schedules/light_8e.py",
    "../_base_/light_runtime.py",
]
model = dict(
    backbone=dict(frozen_stages=5),
    panoptic_head=dict(
        num_things_classes=1,
        loss_cls=dict(class_weight=[1.0, 0.1]),
        box_supervision=dict(
            warmup_iters=110,
            loss_projection=dict(loss_weight=5.0),
            loss_level_set=dict(
                image_weight=0.2, image_space="lab", detach_features=True, filter_size=(96, 96)
            ),
            loss_pairwise=dict(loss_weight=1.0, warmup_iters=50),
        ),
    ),
    panoptic_fusion_head=dict(num_things_classes=1),
)
optim_wrapper = dict(
    paramwise_cfg=dict(norm_decay_mult=0.0, custom_keys={"query": dict(decay_mult=0.0)})
)
