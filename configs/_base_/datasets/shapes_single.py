"""Generated images of one shape each, under noise, blur and uneven light; labels 0 and 1."""

_base_ = ["./shapes_semantic.py"]
image_size = (64, 64)
single_object = dict(
    image_size=image_size,
    num_objects=(1, 1),
    noise=1.0,
    light=1.0,
    camouflage=0.0,
)
train_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="mmlevelset.LoadSemanticAnnotations"),
    dict(type="mmlevelset.BinaryLabels"),
    dict(type="RandomFlip", prob=0.75, direction=["horizontal", "vertical", "diagonal"]),
    dict(type="PackDetInputs"),
]
test_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="mmlevelset.LoadSemanticAnnotations"),
    dict(type="mmlevelset.BinaryLabels"),
    dict(type="PackDetInputs", meta_keys=("img_id", "img_path", "ori_shape", "img_shape")),
]
train_dataloader = dict(
    batch_size=16, dataset=dict(length=1024, **single_object, pipeline=train_pipeline)
)
val_dataloader = dict(batch_size=16, dataset=dict(**single_object, pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = [
    dict(type="mmlevelset.FMeasureMetric"),
    dict(type="mmlevelset.SemanticBoundaryMetric", tolerances=(1, 2)),
]
test_evaluator = val_evaluator
