"""LevelSet R-CNN with ResNet-50 and FPN. Every value that an ablation changes stands here."""

_base_ = ["./mask-rcnn_r50_fpn.py"]
model = dict(
    type="mmlevelset.LevelSetRCNN",
    roi_head=dict(
        type="mmlevelset.LevelSetRoIHead",
        mask_head=dict(
            type="mmlevelset.LevelSetMaskHead",
            mask_size=112,
            num_steps=3,
            truncation=4.0,
            class_agnostic=False,
            detach_initial=False,
            normalize_rois=False,
            initial_std=0.03,
            targets="image",
            image_features=False,
            fine_channels=0,
            standardize=True,
            data_scale=None,
            reduction="mean",
            curvature_scale=0.08,
            eta=1e-2,
            delta="printed",
            hyperparameter_head=dict(
                type="mmlevelset.HyperparameterHead",
                num_convs=4,
                conv_channels=256,
                fc_channels=256,
                fixed=dict(lambda1=None, lambda2=None, mu=None, eps=None, dt=None),
            ),
            feature_head=dict(
                type="mmlevelset.ChanVeseFeatureHead",
                num_convs=4,
                conv_channels=256,
                upsample_channels=(128, 64, 64),
            ),
            loss_tsdf=dict(type="mmlevelset.TSDFLoss", eps=0.1, l1_weight=1.0, bce_weight=1.0),
            initial_weight=1.0,
            final_weight=5.0,
        ),
    ),
    test_cfg=dict(rcnn=dict(initial_masks=False, level_sets=False, polygons=False)),
)
