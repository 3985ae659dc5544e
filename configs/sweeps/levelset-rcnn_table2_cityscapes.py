"""LevelSet R-CNN, Table 2 on Cityscapes."""

title = "LevelSet R-CNN, Table 2: against Mask R-CNN"
printed_on = "Cityscapes val, as Cityscapes' script counts; ours is COCO's AP"
metrics = {"AP": "coco/segm_mAP"}
seeds = (0,)
variants = dict(
    mask_rcnn=dict(
        label="Mask R-CNN",
        config="../levelset_rcnn/mask-rcnn_r50_fpn_24k_cityscapes.py",
        printed={"AP": 32.3},
    ),
    initial=dict(
        label="LevelSet R-CNN, initial masks",
        same="ours",
        metrics={"AP": "coco/initial_segm_mAP"},
        printed={"AP": 35.4},
    ),
    ours=dict(
        label="LevelSet R-CNN",
        config="../levelset_rcnn/levelset-rcnn_r50_fpn_24k_cityscapes.py",
        options={"model.test_cfg.rcnn.initial_masks": True},
        printed={"AP": 36.2},
    ),
)
