"""BoxLevelSet on iSAID at 800 x 800 in training and testing, as the authors' checkpoint."""

_base_ = ["./box-levelset_r50_fpn_1x_isaid.py"]
image_scale = (800, 800)
train_pipeline = _base_.train_pipeline
train_pipeline[2].scale = image_scale
test_pipeline = _base_.test_pipeline
test_pipeline[1].scale = image_scale
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
