"""The small Mask R-CNN with a recurrent refinement of its masks, on a grid of 56 x 56."""

_base_ = ["./mask-rcnn_small.py"]
model = dict(
    type="mmlevelset.LevelSetRCNN",
    roi_head=dict(
        type="mmlevelset.LevelSetRoIHead",
        mask_head=dict(
            type="mmlevelset.RefinedFCNMaskHead",
            mask_size=56,
            refined_weight=1.0,
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
                slope=0.5,
                detach=False,
                control=None,
            ),
        ),
    ),
    test_cfg=dict(rcnn=dict(initial_masks=False)),
)
