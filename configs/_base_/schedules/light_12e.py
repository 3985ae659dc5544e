"""The schedule of scratch_small.py over 12 epochs, for small models with a pretrained backbone."""

_base_ = ["./scratch_small.py"]
max_epochs = 12
train_cfg = dict(max_epochs=max_epochs, val_interval=max_epochs)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.01, by_epoch=False, begin=0, end=50),
    dict(type="CosineAnnealingLR", by_epoch=True, T_max=max_epochs, convert_to_iter_based=True),
]
auto_scale_lr = dict(base_batch_size=2)
