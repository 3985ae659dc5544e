"""People: Penn-Fudan's pedestrians and the people of COCO128, 171 photographs to train on.

Random crops cut people off, as photographs do. The validation images are Penn-Fudan's.
"""

_base_ = ["./pennfudan_instance.py"]
image_scale = (448, 288)
train_pipeline = [
    dict(type="mmlevelset.LoadImage"),
    dict(type="LoadAnnotations", with_bbox=True, with_mask=True),
    dict(type="RandomResize", scale=image_scale, ratio_range=(0.7, 2.0), keep_ratio=True),
    dict(type="RandomCrop", crop_size=image_scale),
    dict(type="FilterAnnotations", min_gt_bbox_wh=(8, 8)),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PhotoMetricDistortion"),
    dict(type="PackDetInputs"),
]
_pennfudan = dict(_base_.train_dataloader.dataset, pipeline=train_pipeline)
_coco128 = dict(
    _pennfudan,
    data_root="data/coco128/",
    ann_file="annotations/instances_coco128.json",
    data_prefix=dict(img="images/"),
)
train_dataloader = dict(
    dataset=dict(_delete_=True, type="ConcatDataset", datasets=[_pennfudan, _coco128])
)
