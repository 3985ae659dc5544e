"""FCN-32s on EfficientNet-Lite0 with ImageNet weights, on Penn-Fudan; cross-entropy alone."""

_base_ = [
    "../_base_/models/fcn-32s_lite0.py",
    "../_base_/datasets/pennfudan_semantic.py",
    "../_base_/schedules/light_12e.py",
    "../_base_/light_runtime.py",
]
model = dict(decode_head=dict(num_classes=2))
