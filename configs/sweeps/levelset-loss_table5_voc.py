"""Level-set loss, Table 5: against other losses, whose rows are the paper's alone."""

title = "Level-set loss, Table 5: against other losses"
printed_on = "Pascal VOC 2012 val"
metrics = {"mIoU": "mIoU"}
seeds = (0,)
variants = dict(
    deeplabv2=dict(
        label="DeepLab-ResNet-101",
        config="../levelset_loss/deeplabv2_r101_20k_voc.py",
        printed={"mIoU": 75.1},
    ),
    affinity=dict(label="L^AD", run=False, printed={"mIoU": 76.1}),
    max_pooling=dict(label="LMP", run=False, printed={"mIoU": 76.3}),
    deeplabv2_level_set=dict(
        label="level-set loss",
        config="../levelset_loss/deeplabv2_level-set_r101_20k_voc.py",
        printed={"mIoU": 76.5},
    ),
)
