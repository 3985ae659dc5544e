"""CRLS on generated shapes; compare mask-rcnn_shapes.py."""

_base_ = [
    "../_base_/models/crls_small.py",
    "../_base_/datasets/shapes_instance.py",
    "../_base_/schedules/scratch_small.py",
    "../_base_/default_runtime.py",
]
model = dict(roi_head=dict(bbox_head=dict(num_classes=4)))
# Matrices over the whole grid learn in smaller steps than convolutions.
optim_wrapper = dict(paramwise_cfg=dict(custom_keys={"mask_head": dict(lr_mult=0.3)}))
randomness = dict(seed=0)
