"""BoxInst's level-set variant on COCO: the energy in place of the pairwise loss, then as ours.

Ours: the projection alone for a ninth of the training, masks detached inside the features, and an
energy of the image in L*a*b*.
"""

_base_ = [
    "../_base_/models/box-condinst_r50_fpn.py",
    "../_base_/datasets/coco_boxes.py",
    "../_base_/schedules/iterations_90k.py",
    "../_base_/iteration_runtime.py",
]
model = dict(
    mask_head=dict(
        box_supervision=dict(
            warmup_iters=10000,
            loss_level_set=dict(image_weight=0.2, image_space="lab", detach_features=True),
        )
    )
)
optim_wrapper = dict(optimizer=dict(lr=0.01))
train_dataloader = dict(sampler=dict(type="InfiniteSampler", shuffle=True))
