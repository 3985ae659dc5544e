"""The same network trained by full masks."""

_base_ = ["./box-levelset_small_pennfudan.py"]
model = dict(mask_head=dict(supervision="mask"), test_cfg=dict(mask_thr=0.5))
train_pipeline = [
    dict(type="mmlevelset.LoadImage"),
    dict(type="LoadAnnotations", with_bbox=True, with_mask=True),
    dict(type="RandomResize", scale=(448, 288), ratio_range=(0.8, 1.25), keep_ratio=True),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PhotoMetricDistortion"),
    dict(type="PackDetInputs"),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline, masks="required"))
