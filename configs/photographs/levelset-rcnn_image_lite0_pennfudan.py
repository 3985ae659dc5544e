"""LevelSet R-CNN with the RoI's own pixels as three more features of the evolution."""

_base_ = ["./levelset-rcnn_lite0_pennfudan.py"]
model = dict(roi_head=dict(mask_head=dict(image_features=True)))
