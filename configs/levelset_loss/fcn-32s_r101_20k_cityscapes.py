"""FCN-32s on Cityscapes, cross-entropy alone."""

_base_ = [
    "../_base_/models/fcn-32s_r101.py",
    "../_base_/datasets/cityscapes_semantic.py",
    "../_base_/schedules/sgd_poly_20k.py",
    "../_base_/iteration_runtime.py",
]
model = dict(decode_head=dict(num_classes=19))
