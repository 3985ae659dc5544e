"""Table 3 small, from scratch, on generated shapes, with Mask R-CNN, a control and our option.

The control adds a convolution of the same features to phi_0, in the evolution's place.
"""

_base_ = ["./levelset-rcnn_table3_cityscapes.py"]
metrics = {
    "box AP": "coco/bbox_mAP",
    "initial AP": "coco/initial_segm_mAP",
    "AP": "coco/segm_mAP",
    "AP75": "coco/segm_mAP_75",
    "AF_1": "coco/AF_1",
    "AF_2": "coco/AF_2",
}
seeds = (0, 1, 2)
variants = dict(
    mask_rcnn=dict(label="Mask R-CNN", config="../quickstart/mask-rcnn_shapes.py"),
    level_set_loss=dict(config="../quickstart/mask-rcnn_level-set_shapes.py"),
    delse=dict(config="../quickstart/delse_shapes.py"),
    delse_hyperparameters=dict(config="../quickstart/delse_hyperparameters_shapes.py"),
    convolution=dict(
        label="phi_0 + 1x1 convolution of F",
        config="../quickstart/levelset-rcnn_shapes.py",
        options={
            "model.test_cfg.rcnn.initial_masks": True,
            "model.roi_head.mask_head.type": "mmlevelset.ConvolutionMaskHead",
            "model.roi_head.mask_head.num_steps": 1,
        },
    ),
    ours=dict(config="../quickstart/levelset-rcnn_shapes.py"),
    image=dict(
        label="LevelSet R-CNN with the RoI's pixels (ours)",
        config="../quickstart/levelset-rcnn_image_shapes.py",
        options={"model.test_cfg.rcnn.initial_masks": True},
    ),
)
