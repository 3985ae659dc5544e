"""Level-set loss, Table 2: networks on Pascal-Context, with it and with dense CRFs."""

title = "Level-set loss, Table 2: mIoU"
printed_on = "Pascal-Context"
metrics = {"mIoU": "mIoU"}
seeds = (0,)
variants = dict(
    fcn_8s=dict(
        label="FCN-8s, ResNet-101",
        config="../levelset_loss/fcn-8s_r101_20k_context.py",
        printed={"mIoU": 41.0},
    ),
    fcn_8s_level_set=dict(
        label="FCN-8s, ResNet-101, level-set loss",
        config="../levelset_loss/fcn-8s_level-set_r101_20k_context.py",
        printed={"mIoU": 42.2},
    ),
    largefov=dict(
        label="DeepLab-LargeFOV",
        config="../levelset_loss/deeplab-largefov_vgg16_20k_context.py",
        printed={"mIoU": 37.1},
    ),
    largefov_crf=dict(
        label="DeepLab-LargeFOV, dense CRF",
        of="largefov",
        config="../levelset_loss/deeplab-largefov_vgg16_20k_context.py",
        command="tools/dense_crf.py {config} {checkpoint} --iterations 10 --json {result}",
        metrics={"mIoU": "crf_10/mIoU"},
        printed={"mIoU": 39.7},
    ),
    largefov_level_set=dict(
        label="DeepLab-LargeFOV, level-set loss",
        config="../levelset_loss/deeplab-largefov_level-set_vgg16_20k_context.py",
        printed={"mIoU": 39.4},
    ),
    deeplabv2=dict(
        label="DeepLab-ResNet-101",
        config="../levelset_loss/deeplabv2_r101_20k_context.py",
        printed={"mIoU": 44.7},
    ),
    deeplabv2_crf=dict(
        label="DeepLab-ResNet-101, dense CRF",
        of="deeplabv2",
        config="../levelset_loss/deeplabv2_r101_20k_context.py",
        command="tools/dense_crf.py {config} {checkpoint} --iterations 10 --json {result}",
        metrics={"mIoU": "crf_10/mIoU"},
        printed={"mIoU": 45.7},
    ),
    deeplabv2_level_set=dict(
        label="DeepLab-ResNet-101, level-set loss",
        config="../levelset_loss/deeplabv2_level-set_r101_20k_context.py",
        printed={"mIoU": 45.5},
    ),
)
