"""The paper's description without the tree filter, which its Tables 6 to 8 are about.

That they are is read from their equal numbers, which Table 9 continues with "without".
"""

_base_ = ["./box-levelset_r50_fpn_1x_voc.py"]
model = dict(
    mask_head=dict(
        loss_level_set=dict(
            mode="paper",
            feature_weight=0.5,  # the paper's is 5, of features that are not standardised
            feature_channels=9,
            length_weight=1e-4,
            tree_filter=False,
        )
    )
)
