"""BoxLevelSet, Table 8: a short and a long schedule."""

title = "BoxLevelSet, Table 8: schedules"
printed_on = "Pascal VOC 2012 val"
metrics = {"AP": "coco/segm_mAP", "AP_50": "coco/segm_mAP_50", "AP_75": "coco/segm_mAP_75"}
seeds = (0,)
variants = dict(
    short=dict(
        label="1x, one scale",
        config="../box_levelset/box-levelset_paper_no-tree_r50_fpn_1x_voc.py",
        printed={"AP": 24.7, "AP_50": 53.3, "AP_75": 20.8},
    ),
    long=dict(
        label="3x, several scales",
        config="../box_levelset/box-levelset_paper_no-tree_r50_fpn_3x_voc.py",
        printed={"AP": 34.4, "AP_50": 62.2, "AP_75": 34.6},
    ),
)
