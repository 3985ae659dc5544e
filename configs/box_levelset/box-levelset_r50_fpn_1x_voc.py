"""BoxLevelSet on Pascal VOC with the short schedule and one scale, as in the paper's ablations."""

_base_ = [
    "../_base_/models/box-levelset_r50_fpn.py",
    "../_base_/datasets/voc_boxes.py",
    "../_base_/schedules/adamw_1x_voc.py",
    "../_base_/default_runtime.py",
]
model = dict(mask_head=dict(num_classes=20))
train_pipeline = _base_.train_pipeline
train_pipeline[2] = dict(type="Resize", scale=(1333, 800), keep_ratio=True)
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
