"""mmdet's trained Mask R-CNN with refined masks: the refinement alone learns, in one epoch."""

_base_ = ["./mask-rcnn_refined_r50_fpn_1x_coco.py"]
train_cfg = dict(max_epochs=1)
param_scheduler = [
    dict(type="LinearLR", start_factor=0.001, by_epoch=False, begin=0, end=500),
    dict(type="CosineAnnealingLR", by_epoch=True, T_max=1, convert_to_iter_based=True),
]
optim_wrapper = dict(
    optimizer=dict(_delete_=True, type="AdamW", lr=1e-3, weight_decay=0.01),
    clip_grad=dict(max_norm=5.0),
)
custom_hooks = [
    dict(type="mmlevelset.NonFiniteLossHook"),
    dict(type="mmlevelset.ReseedHook"),
    dict(type="mmlevelset.MeanLossHook"),
    dict(type="mmlevelset.FreezeHook", trained=("refinement",)),
]
find_unused_parameters = True
load_from = (
    "https://download.openmmlab.com/mmdetection/v2.0/mask_rcnn/mask_rcnn_r50_fpn_1x_coco/"
    "mask_rcnn_r50_fpn_1x_coco_20200205-d4b0c5d6.pth"
)
partial_load = True  # the refinement is new
