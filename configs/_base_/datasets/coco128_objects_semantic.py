"""The objects of 128 images of COCO's train2017 as one class, as label maps: 96 photographs to
train on, 32 to validate.

``tools/dataset_converters/coco_objects.py`` writes the two files. The pipelines are Penn-Fudan's.
"""

_base_ = ["./pennfudan_semantic.py"]
data_root = "data/"
metainfo = dict(classes=("background", "object"), palette=[(0, 0, 0), (220, 20, 60)])
train_dataloader = dict(
    dataset=dict(
        data_root=data_root,
        metainfo=metainfo,
        ann_file="coco128_objects/instances_train.json",
        data_prefix=dict(img="coco128/images/"),
    )
)
val_dataloader = dict(
    dataset=dict(
        data_root=data_root,
        metainfo=metainfo,
        ann_file="coco128_objects/instances_val.json",
        data_prefix=dict(img="coco128/images/"),
    )
)
test_dataloader = val_dataloader
