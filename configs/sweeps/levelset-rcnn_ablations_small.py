"""The same small, from scratch, on generated shapes: about 5 minutes a run on one core."""

_base_ = ["./levelset-rcnn_ablations_cityscapes.py"]
seeds = (0, 1, 2)
config = "../quickstart/levelset-rcnn_shapes.py"
variants = dict(
    mask_rcnn=dict(config="../quickstart/mask-rcnn_shapes.py"),
    high_resolution=dict(config="../quickstart/mask-rcnn_high-resolution_shapes.py"),
)
