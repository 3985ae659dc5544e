"""The small LevelSet R-CNN for photographs with a recurrent refinement after its evolution."""

_base_ = ["./levelset-rcnn_lite0.py"]
model = dict(
    roi_head=dict(
        mask_head=dict(
            refinement=dict(
                type="mmlevelset.RecurrentRefinement",
                feature_channels=8,
                image_channels=3,
                num_steps=3,
                hidden_channels=8,
                tied=True,
                reduction="none",
                eps=0.1,
                eta=1e-4,
                slope=2.0,
                detach=False,
                control=None,
            )
        )
    )
)
