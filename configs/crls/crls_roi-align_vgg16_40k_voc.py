"""CRLS on Pascal VOC without gradients to the boxes: RoIAlign for the warp."""

_base_ = ["./crls_vgg16_40k_voc.py"]
model = dict(roi_head=dict(bbox_roi_extractor=dict(warp="roi_align")))
