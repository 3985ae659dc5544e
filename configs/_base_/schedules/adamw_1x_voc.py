"""BoxLevelSet's short schedule for Pascal VOC: 12 epochs."""

_base_ = ["./adamw_3x_voc.py"]
max_epochs = 12
train_cfg = dict(max_epochs=max_epochs, val_interval=2)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.001, by_epoch=False, begin=0, end=2000),
    dict(type="MultiStepLR", by_epoch=True, milestones=[9, 11], gamma=0.1),
]
