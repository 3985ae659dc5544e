"""Pascal VOC 2012 with SBD's masks, the shorter side at 600 pixels, one image a step.

The paper scales down what is larger; VOC's images are all smaller, and are scaled up here as Faster
R-CNN does. AP is the paper's mAP^r: ``segm_mAP_50`` and ``segm_mAP_70``.
"""

_base_ = ["./voc_boxes.py"]
image_scale = (1000, 600)
train_pipeline = [
    dict(type="mmlevelset.LoadImage"),
    dict(type="LoadAnnotations", with_bbox=True, with_mask=True),
    dict(type="Resize", scale=image_scale, keep_ratio=True),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PackDetInputs"),
]
test_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="Resize", scale=image_scale, keep_ratio=True),
    dict(type="LoadAnnotations", with_bbox=True, with_mask=True),
    dict(
        type="PackDetInputs",
        meta_keys=("img_id", "img_path", "ori_shape", "img_shape", "scale_factor"),
    ),
]
train_dataloader = dict(
    batch_size=1,
    sampler=dict(_delete_=True, type="InfiniteSampler", shuffle=True),
    dataset=dict(masks="required", pipeline=train_pipeline),
)
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
