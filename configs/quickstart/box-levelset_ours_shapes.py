"""Not in the paper: masks detached inside the features, twenty times the weight on the image."""

_base_ = ["./box-levelset_shapes.py"]
model = dict(
    mask_head=dict(loss_level_set=dict(image_weight=1.0, detach_features=True)),
)
