"""BoxLevelSet on EfficientNet-Lite0 with ImageNet weights: pedestrians from boxes alone.

Ours, not the paper's: the projection alone for four epochs, masks detached inside the features,
and an energy of the image in L*a*b*.
"""

_base_ = [
    "../_base_/models/box-levelset_lite0.py",
    "../_base_/datasets/pennfudan_boxes.py",
    "../_base_/schedules/light_16e.py",
    "../_base_/light_runtime.py",
]
model = dict(
    mask_head=dict(
        num_classes=1,
        warmup_iters=220,
        loss_level_set=dict(image_weight=0.2, image_space="lab", detach_features=True),
    )
)
