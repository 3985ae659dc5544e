"""Single pedestrians cut out of Penn-Fudan: each instance's enlarged box, its mask as label.

For your own photographs in COCO's instance layout, change ``data_root``, the two annotation files,
the image folders and ``metainfo.classes``.
"""

_base_ = ["./pennfudan_instance.py"]
train_pipeline = [
    dict(type="mmlevelset.LoadImage"),
    dict(type="LoadAnnotations", with_bbox=True, with_mask=True),
    dict(type="mmlevelset.CropInstance", factor=(1.1, 1.6)),
    dict(type="RandomFlip", prob=0.5),
    dict(type="mmlevelset.Degrade", noise=40, blur=4, light=0.5, prob=0.5),
    dict(type="PhotoMetricDistortion"),
    dict(type="PackDetInputs"),
]
test_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="LoadAnnotations", with_bbox=True, with_mask=True),
    dict(type="mmlevelset.CropInstance", factor=1.25),
    dict(
        type="PackDetInputs", meta_keys=("img_id", "img_path", "ori_shape", "img_shape", "crop_box")
    ),
]
train_dataloader = dict(
    batch_size=16,
    batch_sampler=None,
    dataset=dict(type="mmlevelset.InstanceCropDataset", min_box_size=16, pipeline=train_pipeline),
)
val_dataloader = dict(
    batch_size=16,
    dataset=dict(type="mmlevelset.InstanceCropDataset", min_box_size=16, pipeline=test_pipeline),
)
test_dataloader = val_dataloader
val_evaluator = [
    dict(type="mmlevelset.FMeasureMetric"),
    dict(type="mmlevelset.SemanticBoundaryMetric", tolerances=(1, 2)),
]
test_evaluator = val_evaluator
