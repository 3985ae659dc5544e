"""Arguments of a small mask head of LevelSet R-CNN."""

SMALL = dict(
    in_channels=8,
    conv_out_channels=8,
    num_convs=1,
    num_classes=3,
    hyperparameter_head=dict(
        type="mmlevelset.HyperparameterHead", num_convs=1, conv_channels=8, fc_channels=8
    ),
    feature_head=dict(
        type="mmlevelset.ChanVeseFeatureHead",
        num_convs=1,
        conv_channels=8,
        upsample_channels=(8, 4),
    ),
)
