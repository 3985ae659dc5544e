"""COCO instances (``data/coco``) as mmdet has them, with boundary F1 and the AP of both masks.

The data set reports skipped objects, and the loader names damaged files.
"""

_base_ = ["mmdet::_base_/datasets/coco_instance.py"]
train_pipeline = [
    dict(type="mmlevelset.LoadImage"),
    dict(type="LoadAnnotations", with_bbox=True, with_mask=True),
    dict(type="Resize", scale=(1333, 800), keep_ratio=True),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PackDetInputs"),
]
train_dataloader = dict(dataset=dict(type="mmlevelset.CocoDataset", pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(type="mmlevelset.CocoDataset"))
test_dataloader = dict(dataset=dict(type="mmlevelset.CocoDataset"))
val_evaluator = dict(type="mmlevelset.LevelSetCocoMetric")
test_evaluator = dict(type="mmlevelset.LevelSetCocoMetric")
