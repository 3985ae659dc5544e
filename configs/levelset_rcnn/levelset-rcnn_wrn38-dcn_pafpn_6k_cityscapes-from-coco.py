"""The large LevelSet R-CNN fine-tuned from COCO to Cityscapes (the paper's Table 1): 6,000 steps.

Give the checkpoint of levelset-rcnn_wrn38-dcn_pafpn_270k_coco.py with ``--cfg-options
load_from=PATH``. The outputs for each class differ in number between the two data sets and start
anew.
"""

_base_ = ["./levelset-rcnn_wrn38-dcn_pafpn_24k_cityscapes.py"]
max_iters = 6000
model = dict(backbone=dict(init_cfg=None))
partial_load = True  # the outputs for each class are new
train_cfg = dict(max_iters=max_iters, val_interval=2000)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.001, by_epoch=False, begin=0, end=500),
    dict(type="MultiStepLR", by_epoch=False, milestones=[4000], gamma=0.1),
]
