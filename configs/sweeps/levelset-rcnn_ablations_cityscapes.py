"""LevelSet R-CNN, the three ablations of the paper's text."""

title = "LevelSet R-CNN, section 5: training target, hyperparameter head, mask resolution"
printed_on = "Cityscapes val, as Cityscapes' script counts; ours is COCO's AP"
metrics = {"initial AP": "coco/initial_segm_mAP", "AP": "coco/segm_mAP"}
seeds = (0,)
config = "../levelset_rcnn/levelset-rcnn_r50_fpn_24k_cityscapes.py"
variants = dict(
    mask_rcnn=dict(
        label="Mask R-CNN",
        config="../levelset_rcnn/mask-rcnn_r50_fpn_24k_cityscapes.py",
        printed={"AP": 32.3},
    ),
    high_resolution=dict(
        label="Mask R-CNN at the level sets' resolution",
        config="../levelset_rcnn/mask-rcnn_r50_fpn_24k_cityscapes.py",
        options={
            "model.roi_head.mask_roi_extractor.roi_layer.output_size": 56,
            "model.roi_head.mask_head.roi_feat_size": 56,
            "model.train_cfg.rcnn.mask_size": 112,
        },
        printed={"AP": 30.1},
    ),
    tsdf=dict(
        label="TSDF head alone",
        options={"model.roi_head.mask_head.num_steps": 0},
        printed={"AP": 32.3},
    ),
    global_hyperparameters=dict(
        label="global hyperparameters",
        options={
            "model.roi_head.mask_head.hyperparameter_head.type": "mmlevelset.GlobalHyperparameters",
            "model.test_cfg.rcnn.initial_masks": True,
        },
        printed={"AP": 35.4},
    ),
    ours=dict(
        label="LevelSet R-CNN",
        options={"model.test_cfg.rcnn.initial_masks": True},
        printed={"initial AP": 35.4, "AP": 36.2},
    ),
)
