"""Not in the paper: the evolution also sees the RoI's own pixels."""

_base_ = ["./levelset-rcnn_r50_fpn_24k_cityscapes.py"]
model = dict(roi_head=dict(mask_head=dict(image_features=True, data_scale=10.0)))
