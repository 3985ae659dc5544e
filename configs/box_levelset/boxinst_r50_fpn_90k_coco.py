"""BoxInst on COCO as in its paper: SGD with 0.01, 16 images a step, 90,000 steps."""

_base_ = [
    "../_base_/models/box-condinst_r50_fpn.py",
    "../_base_/datasets/coco_boxes.py",
    "../_base_/schedules/iterations_90k.py",
    "../_base_/iteration_runtime.py",
]
model = dict(
    mask_head=dict(
        box_supervision=dict(
            loss_projection=dict(loss_weight=1.0),
            loss_level_set=None,
            loss_pairwise=dict(loss_weight=1.0),
        )
    )
)
optim_wrapper = dict(optimizer=dict(lr=0.01))
train_dataloader = dict(sampler=dict(type="InfiniteSampler", shuffle=True))
