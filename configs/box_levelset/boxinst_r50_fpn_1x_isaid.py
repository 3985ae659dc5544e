"""BoxInst on iSAID in BoxLevelSet's schedule. The warm-up of the pairwise loss is a ninth of it."""

_base_ = [
    "../_base_/models/box-condinst_r50_fpn.py",
    "../_base_/datasets/isaid_boxes.py",
    "../_base_/schedules/adamw_1x_isaid.py",
    "../_base_/default_runtime.py",
]
model = dict(
    bbox_head=dict(num_classes=15),
    mask_head=dict(
        box_supervision=dict(
            loss_projection=dict(loss_weight=1.0),
            loss_level_set=None,
            loss_pairwise=dict(loss_weight=1.0, warmup_iters=4000),
        )
    ),
)
