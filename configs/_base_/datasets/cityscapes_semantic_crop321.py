"""Cityscapes in crops of 321, as the level-set loss's paper has them for DeepLab-ResNet101."""

_base_ = ["./cityscapes_semantic.py"]
crop_size = (321, 321)
train_pipeline = [
    dict(type="mmlevelset.LoadImage"),
    dict(type="mmlevelset.LoadSemanticAnnotations"),
    dict(type="RandomFlip", prob=0.5),
    dict(type="RandomCrop", crop_size=crop_size),
    dict(type="Pad", size=crop_size, pad_val=dict(img=(104, 116, 124), seg=255)),
    dict(type="PackDetInputs"),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
