"""128 training images of COCO (``data/coco128``), small: 80 classes painted from the instances.

Evaluation takes the same images: this checks that training runs, not how well it generalises.
"""

_base_ = ["./coco128_boxes.py"]
image_scale = (384, 288)
train_pipeline = [
    dict(type="mmlevelset.LoadImage"),
    dict(type="LoadAnnotations", with_bbox=True, with_mask=True),
    dict(type="mmlevelset.SemanticFromInstances"),
    dict(type="RandomResize", scale=image_scale, ratio_range=(0.8, 1.25), keep_ratio=True),
    dict(type="RandomFlip", prob=0.5),
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
    dataset=dict(type="mmlevelset.CocoSegDataset", masks="required", pipeline=train_pipeline)
)
val_dataloader = dict(dataset=dict(type="mmlevelset.CocoSegDataset", pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = [
    dict(type="mmlevelset.SemSegMetric", iou_metrics=["mIoU"]),
    dict(type="mmlevelset.SemanticBoundaryMetric", tolerances=(1, 2)),
]
test_evaluator = val_evaluator
