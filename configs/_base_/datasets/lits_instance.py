"""Slices of LiTS's CT scans with masks of the liver and its lesions, which training sees too."""

_base_ = ["./lits_boxes.py"]
train_pipeline = _base_.train_pipeline
train_pipeline[1].with_mask = True
train_dataloader = dict(dataset=dict(masks="required", pipeline=train_pipeline))
