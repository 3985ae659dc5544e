"""FCN-32s on EfficientNet-Lite0, on objects of any kind and their background; cross-entropy alone."""

_base_ = [
    "../_base_/models/fcn-32s_lite0.py",
    "../_base_/datasets/coco128_objects_semantic.py",
    "../_base_/schedules/scratch_small.py",
    "../_base_/light_runtime.py",
]
model = dict(backbone=dict(frozen_stages=5), decode_head=dict(num_classes=2))
auto_scale_lr = dict(base_batch_size=2)
