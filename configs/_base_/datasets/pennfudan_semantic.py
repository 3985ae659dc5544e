"""Penn-Fudan pedestrians as two classes, painted from the instances.

For your own photographs in COCO's instance layout, change ``data_root``, the two annotation files,
the image folders and ``metainfo.classes``, the background first.
"""

_base_ = ["./pennfudan_instance.py"]
metainfo = dict(classes=("background", "person"), palette=[(0, 0, 0), (220, 20, 60)])
image_scale = (448, 288)
train_pipeline = [
    dict(type="mmlevelset.LoadImage"),
    dict(type="LoadAnnotations", with_bbox=True, with_mask=True),
    dict(type="mmlevelset.SemanticFromInstances"),
    dict(type="RandomResize", scale=image_scale, ratio_range=(0.8, 1.25), keep_ratio=True),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PhotoMetricDistortion"),
    dict(type="PackDetInputs"),
]
test_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="Resize", scale=image_scale, keep_ratio=True),
    dict(type="LoadAnnotations", with_bbox=True, with_mask=True),
    dict(type="mmlevelset.SemanticFromInstances"),
    dict(type="PackDetInputs", meta_keys=("img_id", "img_path", "ori_shape", "img_shape")),
]
train_dataloader = dict(
    dataset=dict(type="mmlevelset.CocoSegDataset", metainfo=metainfo, pipeline=train_pipeline)
)
val_dataloader = dict(
    dataset=dict(type="mmlevelset.CocoSegDataset", metainfo=metainfo, pipeline=test_pipeline)
)
test_dataloader = val_dataloader
val_evaluator = [
    dict(type="mmlevelset.SemSegMetric", iou_metrics=["mIoU"]),
    dict(type="mmlevelset.SemanticBoundaryMetric", tolerances=(1, 2)),
]
test_evaluator = val_evaluator
