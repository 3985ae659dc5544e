"""Table 4 small, from scratch, on generated shapes: about 5 minutes a run on one core."""

_base_ = ["./levelset-rcnn_table4_cityscapes.py"]
seeds = (0, 1, 2)
config = "../quickstart/levelset-rcnn_shapes.py"
