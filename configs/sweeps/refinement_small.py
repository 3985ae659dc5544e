"""Four models with and without a refinement of their masks, from scratch, on generated shapes.

5 to 20 minutes a run on one core.
"""

title = "Models with and without a refinement of their masks"
metrics = {
    "mask AP": "coco/segm_mAP",
    "AF_1": "coco/AF_1",
    "AF_2": "coco/AF_2",
    "box AP": "coco/bbox_mAP",
}
seeds = (0, 1, 2)
_initial = {
    "mask AP": "coco/initial_segm_mAP",
    "AF_1": "coco/initial_AF_1",
    "AF_2": "coco/initial_AF_2",
}
variants = dict(
    mask_rcnn=dict(label="Mask R-CNN", config="../quickstart/mask-rcnn_shapes.py"),
    mask_rcnn_initial=dict(
        label="Mask R-CNN, refined: before", same="mask_rcnn_refined", metrics=_initial
    ),
    mask_rcnn_refined=dict(
        label="Mask R-CNN, refined", config="../quickstart/mask-rcnn_refined_shapes.py"
    ),
    levelset_rcnn=dict(label="LevelSet R-CNN", config="../quickstart/levelset-rcnn_shapes.py"),
    levelset_rcnn_refined=dict(
        label="LevelSet R-CNN, refined", config="../quickstart/levelset-rcnn_refined_shapes.py"
    ),
    solov2=dict(label="SOLOv2", config="../quickstart/solov2_shapes.py"),
    solov2_refined=dict(label="SOLOv2, refined", config="../quickstart/solov2_refined_shapes.py"),
    box_levelset=dict(label="BoxLevelSet", config="../quickstart/box-levelset_ours_shapes.py"),
    box_levelset_refined=dict(
        label="BoxLevelSet, refined", config="../quickstart/box-levelset_refined_shapes.py"
    ),
)
