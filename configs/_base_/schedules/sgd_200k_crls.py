"""CRLS's schedule for COCO: 180,000 steps at 1e-3 and 20,000 at 1e-4."""

_base_ = ["./sgd_40k_crls.py"]
train_cfg = dict(max_iters=200000, val_interval=50000)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.001, by_epoch=False, begin=0, end=500),
    dict(type="MultiStepLR", by_epoch=False, milestones=[180000], gamma=0.1),
]
