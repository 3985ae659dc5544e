"""Table 2 small, from scratch, on generated shapes; CRF rows need mmlevelset[crf]."""

_base_ = ["./levelset-loss_table2_context.py"]
seeds = (0, 1, 2)
variants = dict(
    fcn_8s=dict(config="../quickstart/fcn-32s_shapes.py"),
    fcn_8s_level_set=dict(config="../quickstart/fcn-32s_shapes.py"),
    largefov=dict(config="../quickstart/deeplab-largefov_shapes.py"),
    largefov_crf=dict(config="../quickstart/deeplab-largefov_shapes.py"),
    largefov_level_set=dict(config="../quickstart/deeplab-largefov_shapes.py"),
    deeplabv2=dict(config="../quickstart/deeplabv2_shapes.py"),
    deeplabv2_crf=dict(config="../quickstart/deeplabv2_shapes.py"),
    deeplabv2_level_set=dict(config="../quickstart/deeplabv2_shapes.py"),
)
