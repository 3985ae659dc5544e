"""DELSE on the small Mask R-CNN, with its own losses and fixed hyperparameters.

The loss weights are a tenth of the full-size model's.
"""

_base_ = ["./mask-rcnn_small.py"]
model = dict(
    type="mmlevelset.LevelSetRCNN",
    roi_head=dict(
        type="mmlevelset.LevelSetRoIHead",
        mask_head=dict(
            type="mmlevelset.DELSEMaskHead",
            mask_size=56,
            num_steps=3,
            truncation=4.0,
            class_agnostic=False,
            detach_initial=False,
            normalize_rois=True,
            initial_std=0.03,
            targets="image",
            eta=1e-2,
            hyperparameter_head=dict(
                type="mmlevelset.FixedDELSEHyperparameters",
                alpha=1.0,
                beta=0.5,
                gamma=0.1,
                dt=0.7,
            ),
            velocity_head=dict(
                type="mmlevelset.ChanVeseFeatureHead",
                num_convs=0,
                conv_channels=64,  # of num_convs above 0
                upsample_channels=(16, 2),
            ),
            modulation_head=dict(
                type="mmlevelset.ChanVeseFeatureHead",
                num_convs=0,
                conv_channels=64,  # of num_convs above 0
                upsample_channels=(16, 1),
            ),
            loss_initial=dict(type="mmlevelset.TSDFSquareLoss"),
            loss_final=dict(type="mmlevelset.BalancedMaskLoss", eps=0.1),
            loss_velocity=dict(type="mmlevelset.AngularLoss"),
            initial_weight=0.1,
            final_weight=0.5,
            velocity_weight=0.1,
        ),
    ),
    test_cfg=dict(rcnn=dict(initial_masks=False, level_sets=False, polygons=False)),
)
