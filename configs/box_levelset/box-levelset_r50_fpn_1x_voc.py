"""BoxLevelSet on Pascal VOC as the authors ran the short schedule.

One scale in training and testing, shorter side 640, and the length term on.
"""

_base_ = [
    "../_base_/models/box-levelset_r50_fpn.py",
    "../_base_/datasets/voc_boxes.py",
    "../_base_/schedules/adamw_1x_voc.py",
    "../_base_/default_runtime.py",
]
model = dict(mask_head=dict(num_classes=20, loss_level_set=dict(length_weight=1e-5)))
image_scale = (1333, 640)
train_pipeline = _base_.train_pipeline
train_pipeline[2] = dict(type="Resize", scale=image_scale, keep_ratio=True)
test_pipeline = _base_.test_pipeline
test_pipeline[1].scale = image_scale
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
