"""CRLS on Pascal VOC with ResNet-50 and FPN, in the paper's schedule."""

_base_ = [
    "../_base_/models/crls_r50_fpn.py",
    "../_base_/datasets/voc_instance_600.py",
    "../_base_/schedules/sgd_40k_crls.py",
    "../_base_/iteration_runtime.py",
]
model = dict(roi_head=dict(bbox_head=dict(num_classes=20)))
