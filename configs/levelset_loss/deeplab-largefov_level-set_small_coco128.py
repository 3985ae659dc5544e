"""The same with the level-set loss, its weight for a pixel that of the generated shapes."""

_base_ = ["./deeplab-largefov_small_coco128.py"]
model = dict(
    decode_head=dict(
        loss_decode=[
            {{_base_.cross_entropy}},
            dict(type="mmlevelset.LevelSetLoss", eps=0.05, reduction="image", loss_weight=5e-5),
        ]
    )
)
