"""Patches of iSAID; training sees their masks too."""

_base_ = ["./isaid_boxes.py"]
train_pipeline = _base_.train_pipeline
train_pipeline[1].with_mask = True
train_dataloader = dict(dataset=dict(masks="required", pipeline=train_pipeline))
