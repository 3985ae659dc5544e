"""DeepLab-v2 on Pascal VOC 2012 with SBD, cross-entropy alone."""

_base_ = [
    "../_base_/models/deeplabv2_r101.py",
    "../_base_/datasets/voc_semantic_crop321.py",
    "../_base_/schedules/sgd_poly_20k_deeplabv2.py",
    "../_base_/iteration_runtime.py",
]
