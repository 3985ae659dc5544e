"""DeepLab-v2 on Pascal-Context, cross-entropy alone."""

_base_ = [
    "../_base_/models/deeplabv2_r101.py",
    "../_base_/datasets/pascal_context_semantic_crop321.py",
    "../_base_/schedules/sgd_poly_20k_deeplabv2.py",
    "../_base_/iteration_runtime.py",
]
model = dict(decode_head=dict(num_classes=60))
