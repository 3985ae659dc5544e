"""The network of box-levelset_lite0_pennfudan.py, trained by full masks."""

_base_ = [
    "../_base_/models/box-levelset_lite0.py",
    "../_base_/datasets/pennfudan_instance.py",
    "../_base_/schedules/light_16e.py",
    "../_base_/light_runtime.py",
]
model = dict(mask_head=dict(num_classes=1, supervision="mask"), test_cfg=dict(mask_thr=0.5))
