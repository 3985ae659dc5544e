"""Pascal VOC 2012's split for detection, the shorter side at 600 pixels, one image a step.

The paper has 5,717 images to train on and 5,823 to validate: VOC's lists for detection. SBD has
masks for 5,623 and 5,732 of them, which are used here, as in the papers whose protocol the paper
follows (``data/voc_detection``). The paper scales down larger images. VOC's images are all smaller;
they are scaled up here, as in Faster R-CNN. The paper's mAP^r at 0.5 and 0.7 are ``segm_mAP_50``
and ``segm_mAP_70``.
"""

_base_ = ["./voc_boxes.py"]
data_root = "data/voc_detection/"
image_scale = (1000, 600)
train_pipeline = _base_.train_pipeline
train_pipeline[1].with_mask = True
train_pipeline[2] = dict(type="Resize", scale=image_scale, keep_ratio=True)
test_pipeline = _base_.test_pipeline
test_pipeline[1].scale = image_scale
train_dataloader = dict(
    batch_size=1,
    sampler=dict(_delete_=True, type="InfiniteSampler", shuffle=True),
    dataset=dict(
        data_root=data_root,
        ann_file="annotations/voc_2012_detection_train.json",
        masks="required",
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    dataset=dict(
        data_root=data_root,
        ann_file="annotations/voc_2012_detection_val.json",
        pipeline=test_pipeline,
    )
)
test_dataloader = val_dataloader
val_evaluator = dict(ann_file=data_root + "annotations/voc_2012_detection_val.json")
test_evaluator = val_evaluator
