"""Not in the paper: masks detached inside the features, and ten times the weight on the image."""

_base_ = ["./box-levelset_small_coco128.py"]
model = dict(
    mask_head=dict(loss_level_set=dict(image_weight=0.5, detach_features=True)),
)
