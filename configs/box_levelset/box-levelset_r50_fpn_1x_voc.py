"""BoxLevelSet on Pascal VOC with the short schedule and one scale, as the paper's ablations."""

_base_ = [
    "../_base_/models/box-levelset_r50_fpn.py",
    "../_base_/datasets/voc_boxes.py",
    "../_base_/schedules/adamw_1x_voc.py",
    "../_base_/default_runtime.py",
]
model = dict(mask_head=dict(num_classes=20))
train_pipeline = [
    dict(type="mmlevelset.LoadImage"),
    dict(type="LoadAnnotations", with_bbox=True, with_mask=False),
    dict(type="Resize", scale=(1333, 800), keep_ratio=True),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PackDetInputs"),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
