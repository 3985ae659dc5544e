"""LevelSet R-CNN, Table 2 on COCO and, with the same models, on LVIS."""

title = "LevelSet R-CNN, Table 2: COCO, and LVIS by a model of COCO"
printed_on = "COCO val2017 and LVIS v0.5 val"
metrics = {"COCO AP": "coco/segm_mAP", "LVIS AP*": "lvis/segm_AP"}
seeds = (0,)
variants = dict(
    mask_rcnn=dict(
        label="Mask R-CNN",
        config="../levelset_rcnn/mask-rcnn_r50_fpn_90k_coco.py",
        printed={"COCO AP": 33.8},
    ),
    mask_rcnn_lvis=dict(
        label="Mask R-CNN on LVIS",
        of="mask_rcnn",
        config="../levelset_rcnn/mask-rcnn_r50_fpn_90k_coco_lvis.py",
        printed={"LVIS AP*": 35.6},
    ),
    initial=dict(
        label="LevelSet R-CNN, initial masks",
        same="ours",
        metrics={"COCO AP": "coco/initial_segm_mAP"},
        printed={"COCO AP": 33.7},
    ),
    initial_lvis=dict(
        label="LevelSet R-CNN, initial masks, on LVIS",
        same="ours_lvis",
        metrics={"LVIS AP*": "lvis/initial_segm_AP"},
        printed={"LVIS AP*": 35.8},
    ),
    ours=dict(
        label="LevelSet R-CNN",
        config="../levelset_rcnn/levelset-rcnn_r50_fpn_90k_coco.py",
        options={"model.test_cfg.rcnn.initial_masks": True},
        printed={"COCO AP": 34.3},
    ),
    ours_lvis=dict(
        label="LevelSet R-CNN on LVIS",
        of="ours",
        config="../levelset_rcnn/levelset-rcnn_r50_fpn_90k_coco_lvis.py",
        options={"model.test_cfg.rcnn.initial_masks": True},
        printed={"LVIS AP*": 36.4},
    ),
)
