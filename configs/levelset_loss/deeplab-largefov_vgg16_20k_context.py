"""DeepLab-LargeFOV on Pascal-Context, cross-entropy alone."""

_base_ = [
    "../_base_/models/deeplab-largefov_vgg16.py",
    "../_base_/datasets/pascal_context_semantic.py",
    "../_base_/schedules/sgd_poly_20k_largefov.py",
    "../_base_/iteration_runtime.py",
]
model = dict(decode_head=dict(num_classes=60))
