"""Level-set loss, Table 2: networks on Pascal-Context, with the loss and with dense CRFs."""

title = "Level-set loss, Table 2: mIoU"
printed_on = "Pascal-Context"
metrics = {"mIoU": "mIoU"}
seeds = (0,)
_level_set_loss = {"model.decode_head.loss_decode.1.loss_weight": 4e-4}
_crf = "tools/dense_crf.py {config} {checkpoint} --iterations 10 --json {result}"
variants = dict(
    fcn_8s=dict(
        label="FCN-8s, ResNet-101",
        config="../levelset_loss/fcn-32s_r101_20k_context.py",
        options={"model.decode_head.skips": 2},
        printed={"mIoU": 41.0},
    ),
    fcn_8s_level_set=dict(
        label="FCN-8s, ResNet-101, level-set loss",
        config="../levelset_loss/fcn-32s_r101_20k_context.py",
        options={"model.decode_head.skips": 2, **_level_set_loss},
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
        command=_crf,
        metrics={"mIoU": "crf_10/mIoU"},
        printed={"mIoU": 39.7},
    ),
    largefov_level_set=dict(
        label="DeepLab-LargeFOV, level-set loss",
        config="../levelset_loss/deeplab-largefov_vgg16_20k_context.py",
        options=_level_set_loss,
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
        command=_crf,
        metrics={"mIoU": "crf_10/mIoU"},
        printed={"mIoU": 45.7},
    ),
    deeplabv2_level_set=dict(
        label="DeepLab-ResNet-101, level-set loss",
        config="../levelset_loss/deeplabv2_r101_20k_context.py",
        options=_level_set_loss,
        printed={"mIoU": 45.5},
    ),
)
