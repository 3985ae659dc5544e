"""A small DeepLab-LargeFOV from scratch on 128 images of COCO, cross-entropy alone."""

_base_ = [
    "../_base_/models/deeplab-largefov_small.py",
    "../_base_/datasets/coco128_semantic.py",
    "../_base_/schedules/scratch_small.py",
    "../_base_/default_runtime.py",
]
default_hooks = dict(checkpoint=dict(interval=2))
model = dict(decode_head=dict(num_classes=81))
