"""BoxLevelSet, Table 9: the tree filter of the deep features; all else as in Table 6."""

_base_ = ["./box-levelset_table6_voc.py"]
title = "BoxLevelSet, Table 9: tree filter"
config = "../box_levelset/box-levelset_r50_fpn_3x_voc.py"
variants = dict(
    _delete_=True,
    without=dict(label="without tree filter", printed={"AP": 34.4, "AP_50": 62.2, "AP_75": 34.6}),
    ours=dict(
        label="with",
        options={"model.mask_head.loss_level_set.tree_filter": True},
        printed={"AP": 36.3, "AP_50": 64.2, "AP_75": 35.9},
    ),
)
