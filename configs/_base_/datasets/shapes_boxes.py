"""Generated shapes, of which training sees the boxes alone."""

_base_ = ["./shapes_instance.py"]
train_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="LoadAnnotations", with_bbox=True, with_mask=False),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PackDetInputs"),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_evaluator = dict(extra_ious=(0.25, 0.7))
test_evaluator = dict(extra_ious=(0.25, 0.7))
