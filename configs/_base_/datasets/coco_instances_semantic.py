"""COCO (``data/coco``): 80 classes painted from the instances, in crops of 321.

The level-set loss's paper starts its ResNets from a training on COCO and says no more. Classes and
crops are our choice.
"""

_base_ = ["./coco_instance.py"]
crop_size = (321, 321)
train_pipeline = [
    dict(type="mmlevelset.LoadImage"),
    dict(type="LoadAnnotations", with_bbox=True, with_mask=True),
    dict(type="mmlevelset.SemanticFromInstances"),
    dict(type="RandomFlip", prob=0.5),
    dict(type="RandomCrop", crop_size=crop_size),
    # The image by the mean that the data preprocessor subtracts, in BGR order.
    dict(type="Pad", size=crop_size, pad_val=dict(img=(104, 116, 124), seg=255)),
    dict(type="PackDetInputs"),
]
test_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="LoadAnnotations", with_bbox=True, with_mask=True),
    dict(type="mmlevelset.SemanticFromInstances"),
    dict(type="PackDetInputs", meta_keys=("img_id", "img_path", "ori_shape", "img_shape")),
]
train_dataloader = dict(
    batch_size=10,
    num_workers=4,
    sampler=dict(_delete_=True, type="InfiniteSampler", shuffle=True),
    batch_sampler=None,
    dataset=dict(type="mmlevelset.CocoSegDataset", pipeline=train_pipeline),
)
val_dataloader = dict(dataset=dict(type="mmlevelset.CocoSegDataset", pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = [
    dict(type="mmlevelset.SemSegMetric", iou_metrics=["mIoU"]),
    dict(type="mmlevelset.SemanticBoundaryMetric", tolerances=(1, 2)),
]
test_evaluator = val_evaluator
