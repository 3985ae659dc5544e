"""BoxInst: a small CondInst trained by boxes, with the projection and the pairwise loss."""

_base_ = [
    "../_base_/models/box-condinst_small.py",
    "../_base_/datasets/shapes_boxes.py",
    "../_base_/schedules/scratch_small_16e.py",
    "../_base_/default_runtime.py",
]
model = dict(
    bbox_head=dict(num_classes=4),
    mask_head=dict(
        box_supervision=dict(
            loss_projection=dict(loss_weight=1.0),
            loss_level_set=None,
            loss_pairwise=dict(loss_weight=1.0, warmup_iters=500),
        )
    ),
)
randomness = dict(seed=0)
