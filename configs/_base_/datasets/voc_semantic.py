"""Pascal VOC 2012 with SBD's label maps: 10,582 images to train on, 1,449 to validate.

``tools/dataset_converters/voc_aug.py`` prepares it.
"""

_base_ = ["./semantic_crops.py"]
data_root = "data/VOCdevkit/VOC2012/"
train_dataloader = dict(
    dataset=dict(
        type="mmlevelset.VOCSegDataset",
        data_root=data_root,
        ann_file="ImageSets/Segmentation/trainaug.txt",
        data_prefix=dict(img_path="JPEGImages", seg_map_path="SegmentationClassAug"),
    )
)
val_dataloader = dict(
    dataset=dict(
        type="mmlevelset.VOCSegDataset",
        data_root=data_root,
        ann_file="ImageSets/Segmentation/val.txt",
        data_prefix=dict(img_path="JPEGImages", seg_map_path="SegmentationClassAug"),
    )
)
test_dataloader = val_dataloader
