"""A small DeepLab-v2 on generated semantic maps, cross-entropy alone."""

_base_ = [
    "../_base_/models/deeplabv2_small.py",
    "../_base_/datasets/shapes_semantic.py",
    "../_base_/schedules/scratch_small_24e.py",
    "../_base_/default_runtime.py",
]
model = dict(decode_head=dict(num_classes=5))
randomness = dict(seed=0)
