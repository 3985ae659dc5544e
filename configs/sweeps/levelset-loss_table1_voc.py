"""Level-set loss, Table 1: networks on Pascal VOC 2012 val, with the loss and with dense CRFs."""

title = "Level-set loss, Table 1: mIoU with the loss and with dense CRFs"
printed_on = "Pascal VOC 2012 val"
metrics = {"mIoU": "mIoU"}
seeds = (0,)
_level_set_loss = {"model.decode_head.loss_decode.1.loss_weight": 4e-4}
_three_scales = {"model.multi_scale.scales": (0.5, 0.75, 1.0)}
_crf = "tools/dense_crf.py {config} {checkpoint} --iterations 10 --json {result}"
variants = dict(
    fcn_32s=dict(
        label="FCN-32s, ResNet-101",
        config="../levelset_loss/fcn-32s_r101_20k_voc.py",
        printed={"mIoU": 65.1},
    ),
    fcn_32s_level_set=dict(
        label="FCN-32s, ResNet-101, level-set loss",
        config="../levelset_loss/fcn-32s_r101_20k_voc.py",
        options=_level_set_loss,
        printed={"mIoU": 68.9},
    ),
    fcn_16s=dict(
        label="FCN-16s, ResNet-101",
        config="../levelset_loss/fcn-32s_r101_20k_voc.py",
        options={"model.decode_head.skips": 1},
        printed={"mIoU": 68.4},
    ),
    fcn_16s_level_set=dict(
        label="FCN-16s, ResNet-101, level-set loss",
        config="../levelset_loss/fcn-32s_r101_20k_voc.py",
        options={"model.decode_head.skips": 1, **_level_set_loss},
        printed={"mIoU": 69.2},
    ),
    fcn_8s=dict(
        label="FCN-8s, ResNet-101",
        config="../levelset_loss/fcn-32s_r101_20k_voc.py",
        options={"model.decode_head.skips": 2},
        printed={"mIoU": 68.5},
    ),
    fcn_8s_level_set=dict(
        label="FCN-8s, ResNet-101, level-set loss",
        config="../levelset_loss/fcn-32s_r101_20k_voc.py",
        options={"model.decode_head.skips": 2, **_level_set_loss},
        printed={"mIoU": 69.3},
    ),
    largefov=dict(
        label="DeepLab-LargeFOV",
        config="../levelset_loss/deeplab-largefov_vgg16_20k_voc.py",
        printed={"mIoU": 62.8},
    ),
    largefov_crf=dict(
        label="DeepLab-LargeFOV, dense CRF",
        of="largefov",
        config="../levelset_loss/deeplab-largefov_vgg16_20k_voc.py",
        command=_crf,
        metrics={"mIoU": "crf_10/mIoU"},
        printed={"mIoU": 67.3},
    ),
    largefov_level_set=dict(
        label="DeepLab-LargeFOV, level-set loss",
        config="../levelset_loss/deeplab-largefov_vgg16_20k_voc.py",
        options=_level_set_loss,
        printed={"mIoU": 66.7},
    ),
    largefov_msc=dict(
        label="DeepLab-MSC-LargeFOV",
        config="../levelset_loss/deeplab-largefov_vgg16_20k_voc.py",
        options=_three_scales,
        printed={"mIoU": 64.2},
    ),
    largefov_msc_crf=dict(
        label="DeepLab-MSC-LargeFOV, dense CRF",
        of="largefov_msc",
        config="../levelset_loss/deeplab-largefov_vgg16_20k_voc.py",
        options=_three_scales,
        command=_crf,
        metrics={"mIoU": "crf_10/mIoU"},
        printed={"mIoU": 68.1},
    ),
    largefov_msc_level_set=dict(
        label="DeepLab-MSC-LargeFOV, level-set loss",
        config="../levelset_loss/deeplab-largefov_vgg16_20k_voc.py",
        options={**_three_scales, **_level_set_loss},
        printed={"mIoU": 67.2},
    ),
    deeplabv2=dict(
        label="DeepLab-ResNet-101",
        config="../levelset_loss/deeplabv2_r101_20k_voc.py",
        printed={"mIoU": 75.1},
    ),
    deeplabv2_crf=dict(
        label="DeepLab-ResNet-101, dense CRF",
        of="deeplabv2",
        config="../levelset_loss/deeplabv2_r101_20k_voc.py",
        command=_crf,
        metrics={"mIoU": "crf_10/mIoU"},
        printed={"mIoU": 76.3},
    ),
    deeplabv2_level_set=dict(
        label="DeepLab-ResNet-101, level-set loss",
        config="../levelset_loss/deeplabv2_r101_20k_voc.py",
        options=_level_set_loss,
        printed={"mIoU": 76.5},
    ),
    deeplabv2_msc=dict(
        label="DeepLab-MSC-ResNet-101",
        config="../levelset_loss/deeplabv2_r101_20k_voc.py",
        options=_three_scales,
        printed={"mIoU": 76.0},
    ),
    deeplabv2_msc_crf=dict(
        label="DeepLab-MSC-ResNet-101, dense CRF",
        of="deeplabv2_msc",
        config="../levelset_loss/deeplabv2_r101_20k_voc.py",
        options=_three_scales,
        command=_crf,
        metrics={"mIoU": "crf_10/mIoU"},
        printed={"mIoU": 77.7},
    ),
    deeplabv2_msc_level_set=dict(
        label="DeepLab-MSC-ResNet-101, level-set loss",
        config="../levelset_loss/deeplabv2_r101_20k_voc.py",
        options={**_three_scales, **_level_set_loss},
        printed={"mIoU": 77.3},
    ),
)
