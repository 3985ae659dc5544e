"""LevelSet R-CNN, Table 3: against other level sets in Mask R-CNN."""

title = "LevelSet R-CNN, Table 3: against other deep level sets"
printed_on = "Cityscapes val, as Cityscapes' script counts; ours is COCO's AP"
metrics = {"initial AP": "coco/initial_segm_mAP", "AP": "coco/segm_mAP"}
seeds = (0,)
variants = dict(
    level_set_loss=dict(
        label="level-set energy as a loss",
        config="../levelset_rcnn/mask-rcnn_level-set_r50_fpn_24k_cityscapes.py",
        printed={"AP": 34.3},
    ),
    delse=dict(
        label="DELSE",
        config="../levelset_rcnn/delse_r50_fpn_24k_cityscapes.py",
        options={"model.test_cfg.rcnn.initial_masks": True},
        printed={"initial AP": 34.6, "AP": 34.6},
    ),
    delse_hyperparameters=dict(
        label="DELSE with hyperparameter head",
        config="../levelset_rcnn/delse_hyperparameters_r50_fpn_24k_cityscapes.py",
        options={"model.test_cfg.rcnn.initial_masks": True},
        printed={"initial AP": 34.9, "AP": 35.0},
    ),
    ours=dict(
        label="LevelSet R-CNN",
        config="../levelset_rcnn/levelset-rcnn_r50_fpn_24k_cityscapes.py",
        options={"model.test_cfg.rcnn.initial_masks": True},
        printed={"initial AP": 35.4, "AP": 36.2},
    ),
)
