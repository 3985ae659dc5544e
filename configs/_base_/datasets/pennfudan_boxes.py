"""Penn-Fudan pedestrians, of which training sees the boxes alone."""

_base_ = ["./pennfudan_instance.py"]
train_pipeline = [
    dict(type="mmlevelset.LoadImage"),
    dict(type="LoadAnnotations", with_bbox=True, with_mask=False),
    dict(type="RandomResize", scale=(448, 288), ratio_range=(0.8, 1.25), keep_ratio=True),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PhotoMetricDistortion"),
    dict(type="PackDetInputs"),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline, masks="unread"))
val_evaluator = dict(extra_ious=(0.25, 0.7))
test_evaluator = dict(extra_ious=(0.25, 0.7))
