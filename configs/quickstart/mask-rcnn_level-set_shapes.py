"""Mask R-CNN with the level-set energy of the masks beside their cross-entropy."""

_base_ = ["./mask-rcnn_shapes.py"]
model = dict(
    roi_head=dict(
        mask_head=dict(
            loss_mask=dict(
                _delete_=True,
                type="mmlevelset.MaskLevelSetLoss",
                loss_weight=1.0,
                length_weight=0.0,
                eps=0.1,
                kind="arctan",
                loss_cross_entropy=dict(type="CrossEntropyLoss", use_mask=True, loss_weight=1.0),
            )
        )
    )
)
