"""COCO instances as mmdet has them, with the AP of the initial mask and boundary F1 beside."""

_base_ = ["mmdet::_base_/datasets/coco_instance.py"]
val_evaluator = dict(type="mmlevelset.LevelSetCocoMetric")
test_evaluator = dict(type="mmlevelset.LevelSetCocoMetric")
