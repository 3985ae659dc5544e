"""DELSE in Mask R-CNN (LevelSet R-CNN's Table 3), with its own losses and fixed hyperparameters."""

_base_ = ["./mask-rcnn_r50_fpn.py"]
model = dict(
    type="mmlevelset.LevelSetRCNN",
    roi_head=dict(
        type="mmlevelset.LevelSetRoIHead",
        mask_head=dict(
            type="mmlevelset.DELSEMaskHead",
            mask_size=112,
            num_steps=3,
            truncation=4.0,
            class_agnostic=False,
            detach_initial=False,
            normalize_rois=False,
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
                num_convs=4,
                conv_channels=256,
                upsample_channels=(128, 64, 2),
            ),
            modulation_head=dict(
                type="mmlevelset.ChanVeseFeatureHead",
                num_convs=4,
                conv_channels=256,
                upsample_channels=(128, 64, 1),
            ),
            loss_initial=dict(type="mmlevelset.TSDFSquareLoss"),
            loss_final=dict(type="mmlevelset.BalancedMaskLoss", eps=0.1),
            loss_velocity=dict(type="mmlevelset.AngularLoss"),
            initial_weight=1.0,
            final_weight=5.0,
            velocity_weight=1.0,
        ),
    ),
    test_cfg=dict(rcnn=dict(initial_masks=False, level_sets=False, polygons=False)),
)
