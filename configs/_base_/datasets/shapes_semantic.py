"""Generated shapes for semantic segmentation, the images of ``shapes_instance.py``."""

_base_ = ["./shapes_instance.py"]
metainfo = dict(classes=("background", "star", "ring", "spider", "split"))
train_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="mmlevelset.LoadSemanticAnnotations"),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PackDetInputs"),
]
test_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="mmlevelset.LoadSemanticAnnotations"),
    dict(type="PackDetInputs", meta_keys=("img_id", "img_path", "ori_shape", "img_shape")),
]
train_dataloader = dict(
    dataset=dict(type="mmlevelset.ShapesSegDataset", metainfo=metainfo, pipeline=train_pipeline)
)
val_dataloader = dict(
    dataset=dict(type="mmlevelset.ShapesSegDataset", metainfo=metainfo, pipeline=test_pipeline)
)
test_dataloader = val_dataloader
val_evaluator = [
    dict(type="mmlevelset.SemSegMetric", iou_metrics=["mIoU"]),
    dict(type="mmlevelset.SemanticBoundaryMetric", tolerances=(1, 2)),
]
test_evaluator = val_evaluator
