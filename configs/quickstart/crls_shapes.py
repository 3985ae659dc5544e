"""CRLS on generated shapes; compare mask-rcnn_shapes.py."""

_base_ = [
    "../_base_/models/crls_small.py",
    "../_base_/datasets/shapes_instance.py",
    "../_base_/schedules/scratch_small.py",
    "../_base_/default_runtime.py",
]
model = dict(roi_head=dict(bbox_head=dict(num_classes=4)))
randomness = dict(seed=0)
