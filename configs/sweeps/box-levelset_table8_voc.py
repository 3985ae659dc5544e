"""BoxLevelSet, Table 8: a short and a long schedule; all else as in Table 6."""

_base_ = ["./box-levelset_table6_voc.py"]
title = "BoxLevelSet, Table 8: schedules"
variants = dict(
    _delete_=True,
    short=dict(label="1x, one scale", printed={"AP": 24.7, "AP_50": 53.3, "AP_75": 20.8}),
    long=dict(
        label="3x, several scales",
        config="../box_levelset/box-levelset_r50_fpn_3x_voc.py",
        printed={"AP": 34.4, "AP_50": 62.2, "AP_75": 34.6},
    ),
)
