"""CRLS on COCO with VGG-16, as in the paper, Table 4.

The paper trains on the 80,000 images of 2014; this config trains on train2017.
"""

_base_ = [
    "../_base_/models/crls_vgg16.py",
    "../_base_/datasets/coco_instance_600.py",
    "../_base_/schedules/sgd_200k_crls.py",
    "../_base_/iteration_runtime.py",
]
