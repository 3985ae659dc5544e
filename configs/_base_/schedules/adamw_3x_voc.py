"""BoxLevelSet's schedule for Pascal VOC: AdamW, 36 epochs, 8 images a step."""

_base_ = ["./adamw_3x_coco.py"]
optim_wrapper = dict(optimizer=dict(lr=5e-5))
param_scheduler = [
    dict(type="LinearLR", start_factor=0.001, by_epoch=False, begin=0, end=2000),
    dict(type="MultiStepLR", by_epoch=True, milestones=[27, 33], gamma=0.1),
]
auto_scale_lr = dict(base_batch_size=8)
