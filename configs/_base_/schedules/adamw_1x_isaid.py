"""BoxLevelSet's schedule for iSAID: the short one for Pascal VOC, its warm-up from a lower rate."""

_base_ = ["./adamw_1x_voc.py"]
param_scheduler = [
    dict(type="LinearLR", start_factor=0.0005, by_epoch=False, begin=0, end=2000),
    dict(type="MultiStepLR", by_epoch=True, milestones=[9, 11], gamma=0.1),
]
