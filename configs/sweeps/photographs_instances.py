"""Penn-Fudan with full masks: Mask R-CNN and level sets on a pretrained EfficientNet-Lite0.

110 photographs to train on, 20 to validate, 12 epochs. 8 to 17 minutes a run on one core.
"""

title = "Photographs, full masks: Penn-Fudan's pedestrians"
metrics = {
    "box AP": "coco/bbox_mAP",
    "AP": "coco/segm_mAP",
    "AP75": "coco/segm_mAP_75",
    "AF_1": "coco/AF_1",
    "AF_2": "coco/AF_2",
    "Boundary AP": "coco/boundary_mAP",
    "initial AP": "coco/initial_segm_mAP",
    "initial AP75": "coco/initial_segm_mAP_75",
    "initial AF_1": "coco/initial_AF_1",
    "initial AF_2": "coco/initial_AF_2",
    "initial Boundary AP": "coco/initial_boundary_mAP",
}
seeds = (0, 1, 2)
_initial = {"model.test_cfg.rcnn.initial_masks": True}
options = {"val_evaluator.boundary_ap": True, "test_evaluator.boundary_ap": True}
variants = dict(
    mask_rcnn=dict(label="Mask R-CNN", config="../photographs/mask-rcnn_lite0_pennfudan.py"),
    mask_rcnn_refined=dict(
        label="Mask R-CNN, refined",
        config="../photographs/mask-rcnn_refined_lite0_pennfudan.py",
        options=_initial,
    ),
    levelset_rcnn=dict(
        label="LevelSet R-CNN",
        config="../photographs/levelset-rcnn_lite0_pennfudan.py",
        options=_initial,
    ),
    levelset_rcnn_image=dict(
        label="LevelSet R-CNN, the RoI's pixels as features",
        config="../photographs/levelset-rcnn_image_lite0_pennfudan.py",
        options=_initial,
    ),
    levelset_rcnn_refined=dict(
        label="LevelSet R-CNN, refined",
        config="../photographs/levelset-rcnn_refined_lite0_pennfudan.py",
        options=_initial,
    ),
)
