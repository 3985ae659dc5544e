"""Weizmann's one-object images, as ``tools/dataset_converters/weizmann.py`` writes them.

As in the paper's Table 2, the F-measure is against each of two annotators; training draws one of
their masks at random. For your own folders of images and masks, change the folders; with
``annotators=()`` the masks lie in ``seg_map_path`` itself.
"""

data_root = "data/weizmann/"
annotators = ("1", "2")
train_pipeline = [
    dict(type="mmlevelset.LoadImage"),
    dict(type="mmlevelset.LoadMaskAnnotations", annotator="random"),
    dict(type="RandomFlip", prob=0.5),
    dict(type="mmlevelset.Degrade", noise=40, blur=4, light=0.5, prob=0.5),
    dict(type="PhotoMetricDistortion"),
    dict(type="PackDetInputs"),
]
test_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="mmlevelset.LoadMaskAnnotations"),
    dict(type="PackDetInputs", meta_keys=("img_path", "ori_shape", "img_shape", "annotator_maps")),
]
train_dataloader = dict(
    batch_size=16,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=True),
    dataset=dict(
        type="mmlevelset.ImageMaskDataset",
        data_root=data_root,
        ann_file="train.txt",
        data_prefix=dict(img_path="images", seg_map_path="masks"),
        annotators=annotators,
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=16,
    num_workers=2,
    persistent_workers=True,
    drop_last=False,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(
        type="mmlevelset.ImageMaskDataset",
        data_root=data_root,
        ann_file="test.txt",
        data_prefix=dict(img_path="images", seg_map_path="masks"),
        annotators=annotators,
        test_mode=True,
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
val_evaluator = [
    dict(type="mmlevelset.FMeasureMetric"),
    dict(type="mmlevelset.SemanticBoundaryMetric", tolerances=(1, 2)),
]
test_evaluator = val_evaluator
