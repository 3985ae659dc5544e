"""CRLS's schedule for Pascal VOC: 32,000 steps at 1e-3 and 8,000 at 1e-4, one image a step.

The paper prints no more. It builds on Faster R-CNN, so images a step, momentum and weight decay are
Faster R-CNN's; warm-up and clipping of gradients are our choice.
"""

train_cfg = dict(type="IterBasedTrainLoop", max_iters=40000, val_interval=10000)
val_cfg = dict(type="ValLoop")
test_cfg = dict(type="TestLoop")
optim_wrapper = dict(
    type="OptimWrapper",
    optimizer=dict(type="SGD", lr=0.001, momentum=0.9, weight_decay=0.0005),
    clip_grad=dict(max_norm=35.0),
)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.001, by_epoch=False, begin=0, end=500),
    dict(type="MultiStepLR", by_epoch=False, milestones=[32000], gamma=0.1),
]
auto_scale_lr = dict(enable=False, base_batch_size=1)
