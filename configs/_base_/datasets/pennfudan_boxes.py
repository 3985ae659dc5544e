"""Penn-Fudan pedestrians; training sees their boxes alone."""

_base_ = ["./pennfudan_instance.py"]
train_pipeline = _base_.train_pipeline
train_pipeline[1].with_mask = False
train_dataloader = dict(dataset=dict(masks="unread", pipeline=train_pipeline))
val_evaluator = dict(extra_ious=(0.25, 0.7))
test_evaluator = dict(extra_ious=(0.25, 0.7))
