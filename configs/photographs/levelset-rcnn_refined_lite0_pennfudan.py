"""levelset-rcnn_lite0_pennfudan.py with a recurrent refinement after its evolution."""

_base_ = [
    "../_base_/models/levelset-rcnn_refined_lite0.py",
    "../_base_/datasets/pennfudan_instance.py",
    "../_base_/schedules/light_12e.py",
    "../_base_/light_runtime.py",
]
model = dict(
    rpn_head=dict(anchor_generator=dict(ratios=[1.0, 2.0, 3.0])),
    roi_head=dict(bbox_head=dict(num_classes=1), mask_head=dict(num_classes=1)),
)
