"""Table 2 small, from scratch, on generated shapes: about 5 minutes a run on one core."""

_base_ = ["./levelset-rcnn_table2_cityscapes.py"]
seeds = (0, 1, 2)
variants = dict(
    mask_rcnn=dict(config="../quickstart/mask-rcnn_shapes.py"),
    ours=dict(config="../quickstart/levelset-rcnn_shapes.py"),
)
