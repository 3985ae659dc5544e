"""LevelSet R-CNN, Table 5: boundary F1 on two backbones."""

title = "LevelSet R-CNN, Table 5: boundary F1 of true positives at 1 and 2 pixels"
printed_on = "Cityscapes val, as Cityscapes' script counts; ours is COCO's AP"
metrics = {"AF_1": "coco/AF_1", "AF_2": "coco/AF_2"}
seeds = (0,)
variants = dict(
    mask_rcnn=dict(
        label="Mask R-CNN, ResNet-50",
        config="../levelset_rcnn/mask-rcnn_r50_fpn_24k_cityscapes.py",
        printed={"AF_1": 40.2, "AF_2": 57.6},
    ),
    ours=dict(
        label="LevelSet R-CNN, ResNet-50",
        config="../levelset_rcnn/levelset-rcnn_r50_fpn_24k_cityscapes.py",
        printed={"AF_1": 45.8, "AF_2": 63.1},
    ),
    mask_rcnn_wide=dict(
        label="Mask R-CNN, WideResNet-38",
        config="../levelset_rcnn/mask-rcnn_wrn38_fpn_24k_cityscapes.py",
        printed={"AF_1": 42.7, "AF_2": 59.9},
    ),
    ours_wide=dict(
        label="LevelSet R-CNN, WideResNet-38",
        config="../levelset_rcnn/levelset-rcnn_wrn38_fpn_24k_cityscapes.py",
        printed={"AF_1": 46.8, "AF_2": 64.6},
    ),
)
