"""The paper's description with 10 channels of deep features (Table 7)."""

_base_ = ["./box-levelset_paper_no-tree_r50_fpn_1x_voc.py"]
model = dict(mask_head=dict(loss_level_set=dict(feature_channels=10)))
