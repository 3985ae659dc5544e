"""CRLS on COCO with ResNet-50 and FPN, in the paper's schedule.

The paper trains on the 80,000 images of 2014; this config trains on train2017.
"""

_base_ = [
    "../_base_/models/crls_r50_fpn.py",
    "../_base_/datasets/coco_instance_600.py",
    "../_base_/schedules/sgd_200k_crls.py",
    "../_base_/iteration_runtime.py",
]
