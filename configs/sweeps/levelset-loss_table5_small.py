"""The same small, from scratch, on generated shapes."""

_base_ = ["./levelset-loss_table5_voc.py"]
seeds = (0, 1, 2)
variants = dict(
    deeplabv2=dict(config="../quickstart/deeplabv2_shapes.py"),
    deeplabv2_level_set=dict(config="../quickstart/deeplabv2_level-set_shapes.py"),
)
