"""LevelSet R-CNN with ResNet-50 and FPN, ours: narrow heads, and the RoI's pixels as features.

Its mask branch has 1.5 times the multiplications of Mask R-CNN's, that of levelset-rcnn_r50_fpn.py
4.5 times.
"""

_base_ = ["./levelset-rcnn_r50_fpn.py"]
model = dict(
    roi_head=dict(
        mask_head=dict(
            normalize_rois=True,
            image_features=True,
            data_scale=1.0,
            hyperparameter_head=dict(num_convs=1, conv_channels=64),
            feature_head=dict(num_convs=0, upsample_channels=(64, 32, 16)),
            initial_weight=0.4,
            final_weight=2.0,
        )
    )
)
