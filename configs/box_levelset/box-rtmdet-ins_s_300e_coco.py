"""RTMDet-Ins-s on COCO from boxes, in mmdet's schedule: 256 images a step, 300 epochs.

Ours: the projection alone for the first 30 epochs, masks detached inside the features, and an
energy of the image in L*a*b*. The images are divided by 57, as BoxLevelSet's.
"""

_base_ = [
    "mmdet::rtmdet/rtmdet-ins_s_8xb32-300e_coco.py",
    "../_base_/models/box-supervision.py",
]
model = dict(
    type="mmlevelset.BoxRTMDet",
    bbox_head=dict(
        type="mmlevelset.BoxRTMDetInsHead",
        box_supervision=dict(
            _base_.box_supervision,
            warmup_iters=14000,
            loss_level_set=dict(
                _base_.box_supervision.loss_level_set,
                image_weight=0.2,
                image_space="lab",
                detach_features=True,
            ),
        ),
    ),
)
train_pipeline = _base_.train_pipeline
stage2 = _base_.train_pipeline_stage2
for pipeline in (train_pipeline, stage2):
    pipeline[0] = dict(type="mmlevelset.LoadImage")
    pipeline[1] = dict(type="LoadAnnotations", with_bbox=True, with_mask=False)
    for step in pipeline:
        if step["type"] == "RandomCrop":
            step["recompute_bbox"] = False
train_dataloader = dict(
    dataset=dict(type="mmlevelset.CocoDataset", masks="unread", pipeline=train_pipeline)
)
test_pipeline = _base_.test_pipeline
for step in test_pipeline:
    if step["type"] == "LoadAnnotations":
        step["with_mask"] = True
val_dataloader = dict(dataset=dict(type="mmlevelset.CocoDataset", pipeline=test_pipeline))
test_dataloader = val_dataloader
val_evaluator = dict(type="mmlevelset.LevelSetCocoMetric")
test_evaluator = val_evaluator
default_hooks = dict(checkpoint=dict(type="mmlevelset.CheckpointHook"))
hooks = _base_.custom_hooks
hooks[1]["switch_pipeline"] = stage2
custom_hooks = [
    *hooks,
    dict(type="mmlevelset.NonFiniteLossHook"),
    dict(type="mmlevelset.ReseedHook"),
    dict(type="mmlevelset.MeanLossHook"),
]
del stage2, pipeline, step, hooks
