"""Not in the paper: with the local consistency of its successor, Box2Mask."""

_base_ = ["./box-levelset_r50_fpn_3x_voc.py"]
model = dict(
    mask_head=dict(
        loss_consistency=dict(
            _delete_=True,
            type="mmlevelset.LocalConsistencyLoss",
            loss_weight=1.0,
            num_iterations=10,
            dilation=2,
        )
    )
)
