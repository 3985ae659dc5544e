"""The losses of masks from boxes, for the heads of all detectors. An ablation changes these values.

A model takes it: ``box_supervision=_base_.box_supervision``. The pairwise loss is BoxInst's, the
consistency Box2Mask's.
"""

box_supervision = dict(
    supervision="box",
    warmup_iters=0,
    loss_projection=dict(type="mmlevelset.BoxProjectionLoss", loss_weight=3.0),
    loss_level_set=dict(
        type="mmlevelset.BoxLevelSetLoss",
        mode="released",
        image_weight=0.05,
        image_space="rgb",
        feature_weight=5.0,
        length_weight=0.0,
        domain="box",
        feature_channels=5,
        second_filter=True,
        tree_filter=True,
        detach_features=None,
        standardize_features=True,
        sigma=0.02,
        filter_size=None,
    ),
    loss_consistency=dict(
        type="mmlevelset.LocalConsistencyLoss",
        loss_weight=0.0,
        num_iterations=10,
        dilation=2,
        alpha=0.3,
        size=None,
    ),
    loss_pairwise=dict(
        type="mmlevelset.BoxPairwiseLoss",
        loss_weight=0.0,
        kernel_size=3,
        dilation=2,
        threshold=0.3,
        warmup_iters=10000,
    ),
)
