"""levelset-rcnn_image_lite0_pennfudan.py for people who sit, are cut off, or fill the photograph."""

_base_ = [
    "../_base_/models/levelset-rcnn_lite0.py",
    "../_base_/datasets/people.py",
    "../_base_/schedules/light_16e.py",
    "../_base_/light_runtime.py",
]
model = dict(
    rpn_head=dict(anchor_generator=dict(ratios=[0.5, 1.0, 2.0, 3.0])),
    roi_head=dict(
        bbox_head=dict(num_classes=1), mask_head=dict(num_classes=1, image_features=True)
    ),
)
