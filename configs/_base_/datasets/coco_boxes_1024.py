"""COCO (``data/coco``) with boxes alone, at 0.1 to 2 times 1024 pixels, cropped to 1024 x 1024."""

_base_ = ["./coco_instance.py"]
image_size = (1024, 1024)
train_pipeline = [
    dict(type="mmlevelset.LoadImage", to_float32=True),
    dict(type="LoadAnnotations", with_bbox=True, with_mask=False),
    dict(type="RandomFlip", prob=0.5),
    dict(type="RandomResize", scale=image_size, ratio_range=(0.1, 2.0), keep_ratio=True),
    dict(
        type="RandomCrop",
        crop_size=image_size,
        crop_type="absolute",
        recompute_bbox=False,
        allow_negative_crop=True,
    ),
    dict(type="FilterAnnotations", min_gt_bbox_wh=(1e-5, 1e-5), by_mask=False),
    dict(type="PackDetInputs"),
]
train_dataloader = dict(
    sampler=dict(type="InfiniteSampler", shuffle=True),
    dataset=dict(pipeline=train_pipeline, masks="unread"),
)
