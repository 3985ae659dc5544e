"""The ablations small, from scratch, on generated shapes: about 5 minutes a run on one core."""

_base_ = ["./levelset-rcnn_ablations_cityscapes.py"]
seeds = (0, 1, 2)
config = "../quickstart/levelset-rcnn_shapes.py"
variants = dict(
    mask_rcnn=dict(config="../quickstart/mask-rcnn_shapes.py"),
    high_resolution=dict(
        config="../quickstart/mask-rcnn_shapes.py",
        options={
            "model.roi_head.mask_roi_extractor.roi_layer.output_size": 28,
            "model.roi_head.mask_head.roi_feat_size": 28,
            "model.train_cfg.rcnn.mask_size": 56,
        },
    ),
)
