"""Fig. 5 small, from scratch, on generated shapes."""

_base_ = ["./levelset-loss_heaviside_voc.py"]
seeds = (0, 1, 2)
config = "../quickstart/deeplab-largefov_shapes.py"
