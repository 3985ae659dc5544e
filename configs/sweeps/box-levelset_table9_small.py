"""Table 9 small, from scratch, on generated shapes: about 7 minutes a run on one core."""

_base_ = ["./box-levelset_table9_voc.py"]
seeds = (0, 1, 2)
config = "../quickstart/box-levelset_shapes.py"
