"""Level-set loss, Table 5: against other losses; their rows are the paper's alone."""

title = "Level-set loss, Table 5: against other losses"
printed_on = "Pascal VOC 2012 val"
metrics = {"mIoU": "mIoU"}
seeds = (0,)
config = "../levelset_loss/deeplabv2_r101_20k_voc.py"
variants = dict(
    deeplabv2=dict(label="DeepLab-ResNet-101", printed={"mIoU": 75.1}),
    affinity=dict(label="L^AD", run=False, printed={"mIoU": 76.1}),
    max_pooling=dict(label="LMP", run=False, printed={"mIoU": 76.3}),
    deeplabv2_level_set=dict(
        label="level-set loss",
        options={"model.decode_head.loss_decode.1.loss_weight": 4e-4},
        printed={"mIoU": 76.5},
    ),
)
