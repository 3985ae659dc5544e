"""Pascal VOC 2012 with SBD's label maps: 10,582 images to train on, 1,449 to validate.

``tools/dataset_converters/voc_aug.py`` prepares it. Crops of 512, as the level-set loss's paper has
them for FCN and DeepLab-LargeFOV; 10 images a step on one GPU.
"""

data_root = "data/VOCdevkit/VOC2012/"
crop_size = (512, 512)
train_pipeline = [
    dict(type="mmlevelset.LoadImage"),
    dict(type="mmlevelset.LoadSemanticAnnotations"),
    dict(type="RandomFlip", prob=0.5),
    dict(type="RandomCrop", crop_size=crop_size),
    # The image by the mean that the data preprocessor subtracts, in BGR order.
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
    dataset=dict(
        type="mmlevelset.VOCSegDataset",
        data_root=data_root,
        ann_file="ImageSets/Segmentation/trainaug.txt",
        data_prefix=dict(img_path="JPEGImages", seg_map_path="SegmentationClassAug"),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=4,
    persistent_workers=True,
    drop_last=False,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(
        type="mmlevelset.VOCSegDataset",
        data_root=data_root,
        ann_file="ImageSets/Segmentation/val.txt",
        data_prefix=dict(img_path="JPEGImages", seg_map_path="SegmentationClassAug"),
        test_mode=True,
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
val_evaluator = [
    dict(type="mmlevelset.SemSegMetric", iou_metrics=["mIoU"]),
    dict(type="mmlevelset.SemanticBoundaryMetric", tolerances=(1, 2)),
]
test_evaluator = val_evaluator
