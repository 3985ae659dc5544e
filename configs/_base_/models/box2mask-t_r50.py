"""Box2Mask-T: Mask2Former from boxes with the losses of Box2Mask's authors."""

_base_ = ["./box-mask2former_r50.py"]
model = dict(
    panoptic_head=dict(
        box_supervision=dict(
            loss_projection=dict(loss_weight=5.0),
            loss_level_set=dict(filter_size=(96, 96)),
            loss_consistency=dict(loss_weight=0.2, size=(96, 96)),
        )
    )
)
