"""BoxLevelSet as the paper describes it: the energy of filtered deep features, with a length.

Its weight of 5 fits features of small deviation. Standardised, as they are here so that they do not
collapse, they have ten times less: with 5 the masks learn nothing.
"""

_base_ = ["./box-levelset_shapes.py"]
model = dict(
    mask_head=dict(
        loss_level_set=dict(
            mode="paper", feature_weight=0.5, feature_channels=9, length_weight=1e-4
        )
    )
)
