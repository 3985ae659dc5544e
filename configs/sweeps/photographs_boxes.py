"""Penn-Fudan from boxes alone: BoxLevelSet on a pretrained EfficientNet-Lite0, and full masks.

110 photographs to train on, 20 to validate, 16 epochs.
"""

title = "Photographs, boxes alone: Penn-Fudan's pedestrians"
metrics = {
    "AP": "coco/segm_mAP",
    "AP_25": "coco/segm_mAP_25",
    "AP_50": "coco/segm_mAP_50",
    "AP_70": "coco/segm_mAP_70",
    "AP_75": "coco/segm_mAP_75",
    "AF_1": "coco/AF_1",
    "AF_2": "coco/AF_2",
    "Boundary AP": "coco/boundary_mAP",
    "box AP": "coco/bbox_mAP",
}
seeds = (0, 1, 2)
config = "../photographs/box-levelset_lite0_pennfudan.py"
_extra_ious = (0.25, 0.7)
options = {
    "val_evaluator.boundary_ap": True,
    "test_evaluator.boundary_ap": True,
    "val_evaluator.extra_ious": _extra_ious,
    "test_evaluator.extra_ious": _extra_ious,
}
_losses = "model.mask_head.loss_level_set"
# 0.05 for images divided by 58, as the released code has them; this backbone's are divided by 128.
_released_image_weight = 0.05 * (128 / 58) ** 2
variants = dict(
    projection=dict(label="projection alone", options={_losses: None}),
    # BoxInst's loss with the weight of the projection, over a ninth of the training.
    pairwise=dict(
        label="projection, BoxInst's pairwise loss",
        options={
            _losses: None,
            "model.mask_head.loss_pairwise.loss_weight": 3.0,
            "model.mask_head.loss_pairwise.warmup_iters": 100,
        },
    ),
    released=dict(
        label="BoxLevelSet, the released weights",
        options={
            "model.mask_head.warmup_iters": 0,
            f"{_losses}.image_weight": _released_image_weight,
            f"{_losses}.image_space": "rgb",
            f"{_losses}.detach_features": False,
        },
    ),
    ours=dict(label="BoxLevelSet, ours"),
    full_masks=dict(label="SOLOv2, full masks", config="../photographs/solov2_lite0_pennfudan.py"),
)
