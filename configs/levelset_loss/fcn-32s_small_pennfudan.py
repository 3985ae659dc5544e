"""A small FCN-32s from scratch on Penn-Fudan, cross-entropy alone."""

_base_ = [
    "../_base_/models/fcn-32s_small.py",
    "../_base_/datasets/pennfudan_semantic.py",
    "../_base_/schedules/scratch_small.py",
    "../_base_/default_runtime.py",
]
default_hooks = dict(checkpoint=dict(interval=2))
model = dict(decode_head=dict(num_classes=2))
