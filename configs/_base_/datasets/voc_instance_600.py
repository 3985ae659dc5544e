"""Pascal VOC 2012 with SBD's masks, the shorter side at 600 pixels, one image a step.

The paper scales down larger images. VOC's images are all smaller; they are scaled up here, as in
Faster R-CNN. The paper's mAP^r at 0.5 and 0.7 are ``segm_mAP_50`` and ``segm_mAP_70``.
"""

_base_ = ["./voc_boxes.py"]
image_scale = (1000, 600)
train_pipeline = _base_.train_pipeline
train_pipeline[1].with_mask = True
train_pipeline[2] = dict(type="Resize", scale=image_scale, keep_ratio=True)
test_pipeline = _base_.test_pipeline
test_pipeline[1].scale = image_scale
train_dataloader = dict(
    batch_size=1,
    sampler=dict(_delete_=True, type="InfiniteSampler", shuffle=True),
    dataset=dict(masks="required", pipeline=train_pipeline),
)
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
