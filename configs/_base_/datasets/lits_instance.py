"""Slices of LiTS's CT scans; training sees the masks of liver and lesions too."""

_base_ = ["./lits_boxes.py"]
train_pipeline = _base_.train_pipeline
train_pipeline[1].with_mask = True
train_dataloader = dict(dataset=dict(masks="required", pipeline=train_pipeline))
