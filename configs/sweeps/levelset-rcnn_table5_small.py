"""Table 5 small, from scratch, on generated shapes: a ResNet-18 and a narrow WideResNet-38."""

_base_ = ["./levelset-rcnn_table5_cityscapes.py"]
seeds = (0, 1, 2)
variants = dict(
    mask_rcnn=dict(config="../quickstart/mask-rcnn_shapes.py"),
    ours=dict(config="../quickstart/levelset-rcnn_shapes.py"),
    mask_rcnn_wide=dict(config="../quickstart/mask-rcnn_wide_shapes.py"),
    ours_wide=dict(config="../quickstart/levelset-rcnn_wide_shapes.py"),
)
