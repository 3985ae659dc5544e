"""Table 5 small, from scratch, on generated shapes."""

_base_ = ["./levelset-loss_table5_voc.py"]
seeds = (0, 1, 2)
config = "../quickstart/deeplabv2_shapes.py"
