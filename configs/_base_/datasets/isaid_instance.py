"""Patches of iSAID with masks, which training sees too."""

_base_ = ["./isaid_boxes.py"]
train_pipeline = [
    dict(type="mmlevelset.LoadImage"),
    dict(type="LoadAnnotations", with_bbox=True, with_mask=True),
    dict(type="Resize", scale={{_base_.image_scale}}, keep_ratio=True),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PackDetInputs"),
]
train_dataloader = dict(dataset=dict(masks="required", pipeline=train_pipeline))
