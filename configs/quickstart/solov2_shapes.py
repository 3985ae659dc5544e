"""The same network trained by full masks."""

_base_ = ["./box-levelset_shapes.py"]
model = dict(mask_head=dict(supervision="mask"), test_cfg=dict(mask_thr=0.5))
train_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="LoadAnnotations", with_bbox=True, with_mask=True),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PackDetInputs"),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
