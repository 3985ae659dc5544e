"""LevelSet R-CNN, Table 4: the gradient of phi_N through the initial mask."""

title = "LevelSet R-CNN, Table 4: gradients from phi_N through phi_0"
printed_on = "Cityscapes val, as Cityscapes' script counts; ours is COCO's AP"
metrics = {"initial AP": "coco/initial_segm_mAP", "AP": "coco/segm_mAP"}
seeds = (0,)
options = {"model.test_cfg.rcnn.initial_masks": True}
config = "../levelset_rcnn/levelset-rcnn_r50_fpn_24k_cityscapes.py"
variants = dict(
    detached=dict(
        label="phi_0 detached",
        options={"model.roi_head.mask_head.detach_initial": True},
        printed={"initial AP": 33.0, "AP": 34.2},
    ),
    ours=dict(
        label="gradients through phi_0",
        printed={"initial AP": 35.4, "AP": 36.2},
    ),
)
