"""BoxLevelSet, Table 7: channels of the deep features; all else as in Table 6."""

_base_ = ["./box-levelset_table6_voc.py"]
title = "BoxLevelSet, Table 7: channels of the deep features"
variants = dict(
    _delete_=True,
    c5=dict(
        label="5 channels",
        options={"model.mask_head.loss_level_set.feature_channels": 5},
        printed={"AP": 23.3, "AP_50": 51.3, "AP_75": 18.7},
    ),
    c8=dict(
        label="8 channels",
        options={"model.mask_head.loss_level_set.feature_channels": 8},
        printed={"AP": 24.4, "AP_50": 52.1, "AP_75": 20.1},
    ),
    c9=dict(
        label="9 channels",
        options={"model.mask_head.loss_level_set.feature_channels": 9},
        printed={"AP": 24.7, "AP_50": 53.3, "AP_75": 20.8},
    ),
    c10=dict(
        label="10 channels",
        options={"model.mask_head.loss_level_set.feature_channels": 10},
        printed={"AP": 22.0, "AP_50": 49.2, "AP_75": 17.3},
    ),
    c11=dict(
        label="11 channels",
        options={"model.mask_head.loss_level_set.feature_channels": 11},
        printed={"AP": 21.9, "AP_50": 49.4, "AP_75": 16.9},
    ),
)
