"""The same small, from scratch, on generated shapes."""

_base_ = ["./levelset-loss_heaviside_voc.py"]
seeds = (0, 1, 2)
config = "../quickstart/deeplab-largefov_level-set_shapes.py"
variants = dict(none=dict(config="../quickstart/deeplab-largefov_shapes.py"))
