"""Box2Mask-C: BoxLevelSet with the local consistency of Box2Mask, 8 images a step."""

_base_ = ["./box-levelset_r50_fpn_3x_voc.py"]
model = dict(mask_head=dict(loss_consistency=dict(loss_weight=0.2)))
