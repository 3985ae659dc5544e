"""The paper's Fig. 5: a step for the Heaviside function (HF), its gradient passed straight through."""

_base_ = ["./deeplab-largefov_level-set_vgg16_20k_voc.py"]
model = dict(
    decode_head=dict(
        loss_decode=[
            {{_base_.cross_entropy}},
            dict(
                type="mmlevelset.LevelSetLoss",
                kind="step",
                eps=0.05,
                reduction="image",
                loss_weight=4e-4,
            ),
        ]
    )
)
