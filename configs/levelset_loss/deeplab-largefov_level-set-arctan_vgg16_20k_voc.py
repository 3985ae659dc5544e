"""The paper's Fig. 5: the original Heaviside function (AHF) and the eps the paper gives it."""

_base_ = ["./deeplab-largefov_level-set_vgg16_20k_voc.py"]
model = dict(
    decode_head=dict(
        loss_decode=[
            {{_base_.cross_entropy}},
            dict(
                type="mmlevelset.LevelSetLoss",
                kind="arctan",
                eps=20,
                reduction="image",
                loss_weight=4e-4,
            ),
        ]
    )
)
