"""LargeFOV's head on a dilated EfficientNet-Lite0, on Penn-Fudan; cross-entropy alone."""

_base_ = [
    "../_base_/models/deeplab-largefov_lite0.py",
    "../_base_/datasets/pennfudan_semantic.py",
    "../_base_/schedules/scratch_small.py",
    "../_base_/light_runtime.py",
]
model = dict(backbone=dict(frozen_stages=5), decode_head=dict(num_classes=2))
auto_scale_lr = dict(base_batch_size=2)
