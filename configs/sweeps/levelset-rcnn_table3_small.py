"""Table 3 small, from scratch, on generated shapes: about 5 minutes a run on one core."""

_base_ = ["./levelset-rcnn_table3_cityscapes.py"]
seeds = (0, 1, 2)
variants = dict(
    level_set_loss=dict(config="../quickstart/mask-rcnn_level-set_shapes.py"),
    delse=dict(config="../quickstart/delse_shapes.py"),
    delse_hyperparameters=dict(config="../quickstart/delse_hyperparameters_shapes.py"),
    ours=dict(config="../quickstart/levelset-rcnn_shapes.py"),
)
