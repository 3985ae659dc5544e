"""Mask R-CNN with the level-set energy as a loss: the paper's Table 3, "LS Loss"."""

_base_ = ["./mask-rcnn_r50_fpn_24k_cityscapes.py"]
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
