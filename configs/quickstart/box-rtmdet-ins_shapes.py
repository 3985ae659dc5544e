"""A small RTMDet-Ins trained by boxes, with our level-set energy."""

_base_ = [
    "../_base_/models/box-rtmdet-ins_small.py",
    "../_base_/datasets/shapes_boxes.py",
    "../_base_/schedules/scratch_small_16e.py",
    "../_base_/default_runtime.py",
]
model = dict(
    bbox_head=dict(
        num_classes=4,
        box_supervision=dict(loss_level_set=dict(image_weight=1.0, detach_features=True)),
    )
)
randomness = dict(seed=0)
