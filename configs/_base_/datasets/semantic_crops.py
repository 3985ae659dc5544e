"""Loaders of semantic data sets: crops of 512, 10 images a step on one GPU; whole images to test.

The level-set loss's paper has crops of 512 for FCN and DeepLab-LargeFOV.
"""

crop_size = (512, 512)
train_pipeline = [
    dict(type="mmlevelset.LoadImage"),
    dict(type="mmlevelset.LoadSemanticAnnotations"),
    dict(type="RandomFlip", prob=0.5),
    dict(type="RandomCrop", crop_size=crop_size),
    # The mean that the data preprocessor subtracts, in BGR order.
    dict(type="Pad", size=crop_size, pad_val=dict(img=(104, 116, 124), seg=255)),
    dict(type="PackDetInputs"),
]
test_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="mmlevelset.LoadSemanticAnnotations"),
    dict(type="PackDetInputs", meta_keys=("img_path", "ori_shape", "img_shape")),
]
train_dataloader = dict(
    batch_size=10,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type="InfiniteSampler", shuffle=True),
    dataset=dict(pipeline=train_pipeline),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    drop_last=False,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(test_mode=True, pipeline=test_pipeline),
)
test_dataloader = val_dataloader
val_evaluator = [
    dict(type="mmlevelset.SemSegMetric", iou_metrics=["mIoU"]),
    dict(type="mmlevelset.SemanticBoundaryMetric", tolerances=(1, 2)),
]
test_evaluator = val_evaluator
