"""BoxLevelSet, Table 9: the tree filter of the deep features."""

title = "BoxLevelSet, Table 9: tree filter"
printed_on = "Pascal VOC 2012 val"
metrics = {"AP": "coco/segm_mAP", "AP_50": "coco/segm_mAP_50", "AP_75": "coco/segm_mAP_75"}
seeds = (0,)
config = "../box_levelset/box-levelset_paper_r50_fpn_3x_voc.py"
variants = dict(
    without=dict(
        label="without tree filter",
        options={"model.mask_head.loss_level_set.tree_filter": False},
        printed={"AP": 34.4, "AP_50": 62.2, "AP_75": 34.6},
    ),
    ours=dict(label="with", printed={"AP": 36.3, "AP_50": 64.2, "AP_75": 35.9}),
)
