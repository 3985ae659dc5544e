"""BoxLevelSet with refined masks; the refinement learns from the boxes too."""

_base_ = ["./box-levelset_ours_shapes.py"]
refinement = dict(
    type="mmlevelset.CropRefinement",
    size=56,
    margin=0.2,
    feature_channels=8,
    image_channels=3,
    num_steps=3,
    hidden_channels=8,
    detach=False,
)
model = dict(mask_head=dict(refinement=refinement))
