"""Level-set loss, Table 4: mIoU and time against dense CRFs; needs mmlevelset[crf]."""

title = "Level-set loss, Table 4: against dense CRFs, seconds an image with the network's"
printed_on = "Pascal VOC 2012 val"
metrics = {"mIoU": "mIoU", "s/image": "seconds"}
seeds = (0,)
_level_set_loss = {"model.decode_head.loss_decode.1.loss_weight": 4e-4}
variants = dict(
    largefov_trained=dict(config="../levelset_loss/deeplab-largefov_vgg16_20k_voc.py", show=False),
    largefov_level_set_trained=dict(
        config="../levelset_loss/deeplab-largefov_vgg16_20k_voc.py",
        options=_level_set_loss,
        show=False,
    ),
    largefov_level_set=dict(
        label="DeepLab-LargeFOV, level-set loss",
        of="largefov_level_set_trained",
        config="../levelset_loss/deeplab-largefov_vgg16_20k_voc.py",
        options=_level_set_loss,
        command="tools/dense_crf.py {config} {checkpoint} --iterations 1 --json {result}",
        metrics={"mIoU": "crf_0/mIoU", "s/image": "crf_0/seconds"},
        printed={"mIoU": 66.7, "s/image": 0.025},
    ),
    largefov_crf5=dict(
        label="DeepLab-LargeFOV, dense CRF, 5 iterations",
        of="largefov_trained",
        config="../levelset_loss/deeplab-largefov_vgg16_20k_voc.py",
        command="tools/dense_crf.py {config} {checkpoint} --iterations 5 --json {result}",
        metrics={"mIoU": "crf_5/mIoU", "s/image": "crf_5/seconds"},
        printed={"mIoU": 66.5, "s/image": 0.272},
    ),
    largefov_crf10=dict(
        label="DeepLab-LargeFOV, dense CRF, 10 iterations",
        of="largefov_trained",
        config="../levelset_loss/deeplab-largefov_vgg16_20k_voc.py",
        command="tools/dense_crf.py {config} {checkpoint} --iterations 10 --json {result}",
        metrics={"mIoU": "crf_10/mIoU", "s/image": "crf_10/seconds"},
        printed={"mIoU": 67.3, "s/image": 0.387},
    ),
    deeplabv2_trained=dict(config="../levelset_loss/deeplabv2_r101_20k_voc.py", show=False),
    deeplabv2_level_set_trained=dict(
        config="../levelset_loss/deeplabv2_r101_20k_voc.py", options=_level_set_loss, show=False
    ),
    deeplabv2_level_set=dict(
        label="DeepLab-ResNet-101, level-set loss",
        of="deeplabv2_level_set_trained",
        config="../levelset_loss/deeplabv2_r101_20k_voc.py",
        options=_level_set_loss,
        command="tools/dense_crf.py {config} {checkpoint} --iterations 1 --json {result}",
        metrics={"mIoU": "crf_0/mIoU", "s/image": "crf_0/seconds"},
        printed={"mIoU": 76.5, "s/image": 0.054},
    ),
    deeplabv2_crf5=dict(
        label="DeepLab-ResNet-101, dense CRF, 5 iterations",
        of="deeplabv2_trained",
        config="../levelset_loss/deeplabv2_r101_20k_voc.py",
        command="tools/dense_crf.py {config} {checkpoint} --iterations 5 --json {result}",
        metrics={"mIoU": "crf_5/mIoU", "s/image": "crf_5/seconds"},
        printed={"mIoU": 76.1, "s/image": 0.315},
    ),
    deeplabv2_crf10=dict(
        label="DeepLab-ResNet-101, dense CRF, 10 iterations",
        of="deeplabv2_trained",
        config="../levelset_loss/deeplabv2_r101_20k_voc.py",
        command="tools/dense_crf.py {config} {checkpoint} --iterations 10 --json {result}",
        metrics={"mIoU": "crf_10/mIoU", "s/image": "crf_10/seconds"},
        printed={"mIoU": 76.3, "s/image": 0.452},
    ),
)
