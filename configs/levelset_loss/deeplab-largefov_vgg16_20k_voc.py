"""DeepLab-LargeFOV on Pascal VOC 2012 with SBD, cross-entropy alone."""

_base_ = [
    "../_base_/models/deeplab-largefov_vgg16.py",
    "../_base_/datasets/voc_semantic.py",
    "../_base_/schedules/sgd_poly_20k_largefov.py",
    "../_base_/iteration_runtime.py",
]
