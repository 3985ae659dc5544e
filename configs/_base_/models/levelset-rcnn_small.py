"""LevelSet R-CNN on the small Mask R-CNN; phi and the features on a grid of 56 x 56.

The loss weights are a tenth of the paper's for Cityscapes. In a training from scratch the paper's
weights let the gradients of the level sets drown the detection's.
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
                conv_channels=64,
                fc_channels=64,
                fixed=dict(lambda1=None, lambda2=None, mu=None, eps=None, dt=None),
            ),
            feature_head=dict(
                type="mmlevelset.ChanVeseFeatureHead",
                num_convs=2,
                conv_channels=64,
                upsample_channels=(32, 16),
            ),
            loss_tsdf=dict(type="mmlevelset.TSDFLoss", eps=0.1, l1_weight=1.0, bce_weight=1.0),
            initial_weight=0.1,
            final_weight=0.5,
        ),
    ),
    test_cfg=dict(rcnn=dict(initial_masks=False, level_sets=False, polygons=False)),
)
