"""Mask R-CNN's schedule for Cityscapes: 8 images a step, 24,000 steps.

The warm-up and the clipping of gradients are our choice; the paper mentions neither.
"""

max_iters = 24000
train_cfg = dict(type="IterBasedTrainLoop", max_iters=max_iters, val_interval=6000)
val_cfg = dict(type="ValLoop")
test_cfg = dict(type="TestLoop")
optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="SGD", lr=0.01, momentum=0.9, weight_decay=0.0001),
    clip_grad=dict(max_norm=35.0),
)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.001, by_epoch=False, begin=0, end=500),
    dict(type="MultiStepLR", by_epoch=False, milestones=[18000], gamma=0.1),
]
auto_scale_lr = dict(enable=False, base_batch_size=8)
