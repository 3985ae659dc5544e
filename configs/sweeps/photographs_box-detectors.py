"""Penn-Fudan from boxes: CondInst, RTMDet-Ins and Mask2Former, each with six kinds of supervision.

110 photographs to train on, 20 to validate, 8 epochs; the backbone's first five stages are frozen.
About 5 minutes a run on one core. ``photographs_boxes`` has SOLOv2's rows.
"""

title = "Photographs, boxes alone, three detectors: Penn-Fudan's pedestrians"
metrics = {
    "AP": "coco/segm_mAP",
    "AP_25": "coco/segm_mAP_25",
    "AP_50": "coco/segm_mAP_50",
    "AP_75": "coco/segm_mAP_75",
    "AF_1": "coco/AF_1",
    "AF_2": "coco/AF_2",
    "Boundary AP": "coco/boundary_mAP",
    "box AP": "coco/bbox_mAP",
}
seeds = (0, 1, 2)
options = {"val_evaluator.boundary_ap": True, "test_evaluator.boundary_ap": True}
# 0.05 for images divided by 58, as the released code has them; this backbone's are divided by 128.
_released_image_weight = 0.05 * (128 / 58) ** 2
# Name -> label, config, head.
_detectors = dict(
    condinst=("CondInst", "box-condinst", "mask_head"),
    rtmdet_ins=("RTMDet-Ins", "box-rtmdet-ins", "bbox_head"),
    mask2former=("Mask2Former", "box2mask-t", "panoptic_head"),
)
_no_pairwise = {"loss_pairwise.loss_weight": 0.0}
_rows = dict(
    projection=("projection alone", {"loss_level_set": None, **_no_pairwise}),
    pairwise=("projection, pairwise", {"loss_level_set": None}),
    released=(
        "projection, the released energy",
        {
            "warmup_iters": 0,
            "loss_level_set.image_weight": _released_image_weight,
            "loss_level_set.image_space": "rgb",
            "loss_level_set.detach_features": False,
            **_no_pairwise,
        },
    ),
    energy=("projection, our energy", _no_pairwise),
    ours=("projection, pairwise, our energy", {}),
    full_masks=("full masks", {"supervision": "mask"}),
)
_full_masks = {
    "train_dataloader.dataset.masks": "required",
    "train_dataloader.dataset.pipeline.1.with_mask": True,
}
variants = {
    f"{_detector}_{_row}": dict(
        label=f"{_name}, {_label}",
        config=f"../photographs/{_config}_lite0_pennfudan.py",
        options={
            **{f"model.{_head}.box_supervision.{_key}": _v for _key, _v in _settings.items()},
            **(_full_masks if _row == "full_masks" else {}),
        },
    )
    for _detector, (_name, _config, _head) in _detectors.items()
    for _row, (_label, _settings) in _rows.items()
}
