"""RTMDet-Ins-s on iSAID from boxes, ours, in BoxLevelSet's schedule; a ninth of it is warm-up."""

_base_ = [
    "../_base_/models/box-rtmdet-ins_s.py",
    "../_base_/datasets/isaid_boxes.py",
    "../_base_/schedules/adamw_1x_isaid.py",
    "../_base_/default_runtime.py",
]
model = dict(
    bbox_head=dict(
        num_classes=15,
        box_supervision=dict(
            warmup_iters=4000,
            loss_level_set=dict(image_weight=0.2, image_space="lab", detach_features=True),
        ),
    ),
)
