"""A small Box2Mask-T: Mask2Former trained by boxes, with our level-set energy."""

_base_ = [
    "../_base_/models/box-mask2former_small.py",
    "../_base_/datasets/shapes_boxes.py",
    "../_base_/schedules/scratch_small_16e.py",
    "../_base_/default_runtime.py",
]
model = dict(
    panoptic_head=dict(
        num_things_classes=4,
        loss_cls=dict(class_weight=[1.0] * 4 + [0.1]),
        box_supervision=dict(
            loss_projection=dict(loss_weight=5.0),
            loss_level_set=dict(image_weight=1.0, detach_features=True, filter_size=(32, 32)),
        ),
    ),
    panoptic_fusion_head=dict(num_things_classes=4),
)
optim_wrapper = dict(
    paramwise_cfg=dict(norm_decay_mult=0.0, custom_keys={"query": dict(decay_mult=0.0)})
)
randomness = dict(seed=0)
