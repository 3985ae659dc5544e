"""BoxLevelSet's schedule for iSAID: Pascal VOC's of 12 epochs, with a lower start."""

_base_ = ["./adamw_1x_voc.py"]
param_scheduler = [
    dict(type="LinearLR", start_factor=0.0005, by_epoch=False, begin=0, end=2000),
    dict(type="MultiStepLR", by_epoch=True, milestones=[9, 11], gamma=0.1),
]
