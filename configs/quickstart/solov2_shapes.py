"""BoxLevelSet's network trained by full masks."""

_base_ = ["./box-levelset_shapes.py"]
model = dict(mask_head=dict(supervision="mask"), test_cfg=dict(mask_thr=0.5))
train_pipeline = _base_.train_pipeline
train_pipeline[1].with_mask = True
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
