"""BoxLevelSet as the paper describes it: the energy of filtered deep features, with a length term.

The paper's Table 9, with the tree filter.
"""

_base_ = ["./box-levelset_r50_fpn_3x_voc.py"]
model = dict(
    mask_head=dict(
        loss_level_set=dict(
            mode="paper",
            feature_weight=0.5,  # the paper's is 5, of features that are not standardised
            feature_channels=9,
            length_weight=1e-4,
        )
    )
)
