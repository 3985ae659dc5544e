"""The evolution also sees the RoI's own pixels."""

_base_ = ["./levelset-rcnn_small_pennfudan.py"]
model = dict(roi_head=dict(mask_head=dict(image_features=True, data_scale=10.0)))
