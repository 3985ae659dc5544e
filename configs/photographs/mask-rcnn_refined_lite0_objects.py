"""mask-rcnn_lite0_objects.py with a recurrent refinement of its masks."""

_base_ = [
    "../_base_/models/mask-rcnn_refined_lite0.py",
    "../_base_/datasets/coco128_objects.py",
    "../_base_/schedules/light_12e.py",
    "../_base_/light_runtime.py",
]
model = dict(roi_head=dict(bbox_head=dict(num_classes=1), mask_head=dict(num_classes=1)))
