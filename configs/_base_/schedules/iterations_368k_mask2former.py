"""Mask2Former's and Box2Mask-T's schedule for COCO: AdamW, 16 images a step, 368,750 steps."""

max_iters = 368750
train_cfg = dict(type="IterBasedTrainLoop", max_iters=max_iters, val_interval=50000)
val_cfg = dict(type="ValLoop")
test_cfg = dict(type="TestLoop")
no_decay = dict(lr_mult=1.0, decay_mult=0.0)
optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="AdamW", lr=1e-4, weight_decay=0.05, eps=1e-8, betas=(0.9, 0.999)),
    paramwise_cfg=dict(
        custom_keys=dict(
            backbone=dict(lr_mult=0.1, decay_mult=1.0),
            query_embed=no_decay,
            query_feat=no_decay,
            level_embed=no_decay,
        ),
        norm_decay_mult=0.0,
    ),
    clip_grad=dict(max_norm=0.01),
)
param_scheduler = [
    dict(type="MultiStepLR", by_epoch=False, milestones=[327778, 355092], gamma=0.1),
]
auto_scale_lr = dict(enable=False, base_batch_size=16)
del no_decay
