"""BoxLevelSet as the paper describes it: the energy of filtered deep features, with a length."""

_base_ = ["./box-levelset_shapes.py"]
model = dict(
    mask_head=dict(loss_level_set=dict(mode="paper", feature_channels=9, length_weight=1e-4))
)
