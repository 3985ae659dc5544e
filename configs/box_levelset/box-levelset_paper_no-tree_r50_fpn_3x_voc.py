"""The paper's description without the tree filter (Table 8's 3x, and Table 9)."""

_base_ = ["./box-levelset_paper_r50_fpn_3x_voc.py"]
model = dict(mask_head=dict(loss_level_set=dict(tree_filter=False)))
