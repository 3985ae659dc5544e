"""People: Penn-Fudan's pedestrians and photographs of COCO128 with and without people.

214 photographs to train on, and Penn-Fudan's 20 to validate. Random crops cut people off, as
photographs do. 24 other photographs of COCO128 test. ``tools/dataset_converters/coco_objects.py``
writes the two files of COCO128.
"""

_base_ = ["./pennfudan_instance.py"]
image_scale = (448, 288)
_load = [
    dict(type="mmlevelset.LoadImage"),
    dict(type="LoadAnnotations", with_bbox=True, with_mask=True),
    dict(type="RandomResize", scale=image_scale, ratio_range=(0.7, 2.0), keep_ratio=True),
]
_finish = [
    dict(type="RandomFlip", prob=0.5),
    dict(type="PhotoMetricDistortion"),
    dict(type="PackDetInputs"),
]
train_pipeline = [
    *_load,
    dict(type="RandomCrop", crop_size=image_scale),
    dict(type="FilterAnnotations", min_gt_bbox_wh=(8, 8)),
    *_finish,
]
_also_without_people = [
    *_load,
    dict(type="RandomCrop", crop_size=image_scale, allow_negative_crop=True),
    dict(type="FilterAnnotations", min_gt_bbox_wh=(8, 8), keep_empty=False),
    *_finish,
]
_coco128 = dict(data_root="data/", data_prefix=dict(img="coco128/images/"))
_pennfudan = dict(_base_.train_dataloader.dataset, pipeline=train_pipeline)
_with_people = dict(_pennfudan, **_coco128, ann_file="coco128_people/instances_train.json")
_all = dict(_with_people, filter_cfg=dict(filter_empty_gt=False), pipeline=_also_without_people)
# Photographs of COCO128 with people come twice an epoch, those without once.
train_dataloader = dict(
    dataset=dict(_delete_=True, type="ConcatDataset", datasets=[_pennfudan, _with_people, _all])
)
test_dataloader = dict(dataset=dict(**_coco128, ann_file="coco128_people/instances_val.json"))
test_evaluator = dict(ann_file="data/coco128_people/instances_val.json")
