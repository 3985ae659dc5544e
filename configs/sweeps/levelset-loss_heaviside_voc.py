"""Level-set loss, Fig. 5: Heaviside functions; the paper plots mIoU and prints no numbers."""

title = "Level-set loss, Fig. 5: Heaviside functions"
printed_on = "Pascal VOC 2012 val"
metrics = {"mIoU": "mIoU", "BF_1": "BF_1"}
seeds = (0,)
config = "../levelset_loss/deeplab-largefov_vgg16_20k_voc.py"
options = {"model.decode_head.loss_decode.1.loss_weight": 4e-4}
variants = dict(
    none=dict(
        label="cross-entropy alone",
        options={"model.decode_head.loss_decode.1.loss_weight": 0.0},
        printed={"mIoU": 62.8},
    ),
    step=dict(label="step", options={"model.decode_head.loss_decode.1.kind": "step"}),
    arctan=dict(
        label="arctan, eps 20",
        options={
            "model.decode_head.loss_decode.1.kind": "arctan",
            "model.decode_head.loss_decode.1.eps": 20,
        },
    ),
    tanh=dict(label="tanh, eps 1/20", printed={"mIoU": 66.7}),
)
