"""Table 4 small, from scratch, on generated shapes."""

_base_ = ["./levelset-loss_table4_voc.py"]
seeds = (0, 1, 2)
variants = dict(
    largefov_trained=dict(config="../quickstart/deeplab-largefov_shapes.py"),
    largefov_level_set_trained=dict(config="../quickstart/deeplab-largefov_shapes.py"),
    largefov_level_set=dict(config="../quickstart/deeplab-largefov_shapes.py"),
    largefov_crf5=dict(config="../quickstart/deeplab-largefov_shapes.py"),
    largefov_crf10=dict(config="../quickstart/deeplab-largefov_shapes.py"),
    deeplabv2_trained=dict(config="../quickstart/deeplabv2_shapes.py"),
    deeplabv2_level_set_trained=dict(config="../quickstart/deeplabv2_shapes.py"),
    deeplabv2_level_set=dict(config="../quickstart/deeplabv2_shapes.py"),
    deeplabv2_crf5=dict(config="../quickstart/deeplabv2_shapes.py"),
    deeplabv2_crf10=dict(config="../quickstart/deeplabv2_shapes.py"),
)
