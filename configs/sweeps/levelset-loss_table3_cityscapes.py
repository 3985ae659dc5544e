"""Level-set loss, Table 3: networks on Cityscapes val, with it and with dense CRFs."""

title = "Level-set loss, Table 3: mIoU"
printed_on = "Cityscapes val"
metrics = {"mIoU": "mIoU"}
seeds = (0,)
variants = dict(
    fcn_8s=dict(
        label="FCN-8s, ResNet-101",
        config="../levelset_loss/fcn-8s_r101_20k_cityscapes.py",
        printed={"mIoU": 64.7},
    ),
    fcn_8s_level_set=dict(
        label="FCN-8s, ResNet-101, level-set loss",
        config="../levelset_loss/fcn-8s_level-set_r101_20k_cityscapes.py",
        printed={"mIoU": 65.5},
    ),
    largefov=dict(
        label="DeepLab-LargeFOV",
        config="../levelset_loss/deeplab-largefov_vgg16_20k_cityscapes.py",
        printed={"mIoU": 62.9},
    ),
    largefov_crf=dict(
        label="DeepLab-LargeFOV, dense CRF",
        of="largefov",
        config="../levelset_loss/deeplab-largefov_vgg16_20k_cityscapes.py",
        command="tools/dense_crf.py {config} {checkpoint} --iterations 10 --json {result}",
        metrics={"mIoU": "crf_10/mIoU"},
        printed={"mIoU": 64.1},
    ),
    largefov_level_set=dict(
        label="DeepLab-LargeFOV, level-set loss",
        config="../levelset_loss/deeplab-largefov_level-set_vgg16_20k_cityscapes.py",
        printed={"mIoU": 64.0},
    ),
    deeplabv2=dict(
        label="DeepLab-ResNet-101",
        config="../levelset_loss/deeplabv2_r101_20k_cityscapes.py",
        printed={"mIoU": 68.8},
    ),
    deeplabv2_crf=dict(
        label="DeepLab-ResNet-101, dense CRF",
        of="deeplabv2",
        config="../levelset_loss/deeplabv2_r101_20k_cityscapes.py",
        command="tools/dense_crf.py {config} {checkpoint} --iterations 10 --json {result}",
        metrics={"mIoU": "crf_10/mIoU"},
        printed={"mIoU": 69.8},
    ),
    deeplabv2_level_set=dict(
        label="DeepLab-ResNet-101, level-set loss",
        config="../levelset_loss/deeplabv2_level-set_r101_20k_cityscapes.py",
        printed={"mIoU": 69.8},
    ),
)
