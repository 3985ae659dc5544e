"""FCN-32s on Pascal VOC 2012 with SBD, cross-entropy alone."""

_base_ = [
    "../_base_/models/fcn-32s_r101.py",
    "../_base_/datasets/voc_semantic.py",
    "../_base_/schedules/sgd_poly_20k.py",
    "../_base_/iteration_runtime.py",
]
