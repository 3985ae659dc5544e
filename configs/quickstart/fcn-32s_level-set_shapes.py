"""The same with the level-set loss, a tenth of the paper's weight: see docs/levelset_loss.md."""

_base_ = ["./fcn-32s_shapes.py"]
model = dict(
    decode_head=dict(
        loss_decode=[
            {{_base_.cross_entropy}},
            dict(
                type="mmlevelset.LevelSetLoss",
                kind="tanh",
                eps=0.05,
                reduction="image",
                loss_weight=4e-5,
            ),
        ]
    )
)
