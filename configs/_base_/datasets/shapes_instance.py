"""Generated shapes for instance segmentation: nothing to download."""

image_size = (128, 128)
classes = ("star", "ring", "spider", "split")
difficulty = dict(noise=0.5, light=0.5, camouflage=0.0)
train_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="LoadAnnotations", with_bbox=True, with_mask=True),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PackDetInputs"),
]
test_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="Resize", scale=image_size, keep_ratio=True),
    dict(type="LoadAnnotations", with_bbox=True, with_mask=True),
    dict(
        type="PackDetInputs",
        meta_keys=("img_id", "img_path", "ori_shape", "img_shape", "scale_factor", "instances"),
    ),
]
train_dataloader = dict(
    batch_size=4,
    num_workers=0,
    sampler=dict(type="DefaultSampler", shuffle=True),
    dataset=dict(
        type="mmlevelset.ShapesDataset",
        length=512,
        image_size=image_size,
        seed=0,
        metainfo=dict(classes=classes),
        **difficulty,
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=0,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(
        type="mmlevelset.ShapesDataset",
        length=200,
        image_size=image_size,
        seed=1,
        metainfo=dict(classes=classes),
        **difficulty,
        test_mode=True,
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(type="mmlevelset.LevelSetCocoMetric", metric=["bbox", "segm"], extra_ious=())
test_evaluator = val_evaluator
