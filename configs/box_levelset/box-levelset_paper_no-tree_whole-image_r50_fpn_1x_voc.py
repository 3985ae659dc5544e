"""The paper's description with the energy over the whole image (Table 6, last row)."""

_base_ = ["./box-levelset_paper_no-tree_r50_fpn_1x_voc.py"]
model = dict(mask_head=dict(loss_level_set=dict(domain="image")))
