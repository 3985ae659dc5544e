"""LevelSet R-CNN with a recurrent refinement after its evolution."""

_base_ = ["./levelset-rcnn_lite0_pennfudan.py"]
model = dict(
    roi_head=dict(
        mask_head=dict(
            refinement=dict(
                type="mmlevelset.RecurrentRefinement",
                feature_channels=8,
                image_channels=3,
                num_steps=3,
                hidden_channels=8,
                detach=False,
            )
        )
    )
)
