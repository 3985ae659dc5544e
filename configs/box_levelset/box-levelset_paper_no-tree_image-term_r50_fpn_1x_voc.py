"""The paper's description with the energy of the image alone (Table 6, second row)."""

_base_ = ["./box-levelset_paper_no-tree_r50_fpn_1x_voc.py"]
model = dict(mask_head=dict(loss_level_set=dict(feature_weight=0.0)))
