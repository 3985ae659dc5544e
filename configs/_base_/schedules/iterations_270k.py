"""Mask R-CNN's 3x schedule in iterations: 270,000 steps."""

_base_ = ["./iterations_90k.py"]
max_iters = 270000
train_cfg = dict(max_iters=max_iters, val_interval=45000)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.001, by_epoch=False, begin=0, end=500),
    dict(type="MultiStepLR", by_epoch=False, milestones=[210000, 250000], gamma=0.1),
]
