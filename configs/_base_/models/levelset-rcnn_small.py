"""LevelSet R-CNN on the small Mask R-CNN; phi and the features on a grid of 56 x 56.

The heads of the features and of the hyperparameters are narrow. The loss weights are two fifths of the
paper's for Cityscapes; docs/levelset_rcnn.md compares others.
"""

_base_ = ["./mask-rcnn_small.py"]
model = dict(
    type="mmlevelset.LevelSetRCNN",
    roi_head=dict(
        type="mmlevelset.LevelSetRoIHead",
        mask_head=dict(
            type="mmlevelset.LevelSetMaskHead",
            mask_size=56,
            num_steps=3,
            truncation=4.0,
            class_agnostic=False,
            detach_initial=False,
            normalize_rois=True,
            initial_std=0.03,
            targets="image",
            image_features=False,
            fine_channels=0,
            standardize=True,
            data_scale=1.0,
            reduction="mean",
            curvature_scale=0.08,
            eta=1e-2,
            delta="printed",
            hyperparameter_head=dict(
                type="mmlevelset.HyperparameterHead",
                num_convs=1,
                conv_channels=16,
                fc_channels=64,
                fixed=dict(lambda1=None, lambda2=None, mu=None, eps=None, dt=None),
            ),
            feature_head=dict(
                type="mmlevelset.ChanVeseFeatureHead",
                num_convs=0,
                conv_channels=64,  # of num_convs above 0
                upsample_channels=(16, 8),
            ),
            loss_tsdf=dict(type="mmlevelset.TSDFLoss", eps=0.1, l1_weight=1.0, bce_weight=1.0),
            initial_weight=0.4,
            final_weight=2.0,
        ),
    ),
    test_cfg=dict(rcnn=dict(initial_masks=False, level_sets=False, polygons=False)),
)
