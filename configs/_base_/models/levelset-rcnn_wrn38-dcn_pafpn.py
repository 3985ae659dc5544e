"""LevelSet R-CNN with WideResNet-38, deformable convolutions and PANet's modifications.

The paper names the three and no more. Our choice: deformable convolutions of the first version from
stride 8 on; of PANet the bottom-up path, adaptive feature pooling and fully-connected fusion. The
pooling holds the first of the mask head's four convolutions, so the head itself has three.
"""

_base_ = ["./levelset-rcnn_wrn38_fpn.py"]
model = dict(
    backbone=dict(dcn=dict(type="DCN", deform_groups=1)),
    neck=dict(type="PAFPN"),
    roi_head=dict(
        bbox_roi_extractor=dict(type="mmlevelset.AdaptiveFeaturePooling"),
        mask_roi_extractor=dict(type="mmlevelset.AdaptiveFeaturePooling"),
        mask_head=dict(type="mmlevelset.PANetLevelSetMaskHead", num_convs=3),
    ),
)
