"""The small CondInst from boxes for photographs: EfficientNet-Lite0 with ImageNet weights."""

_base_ = ["./box-condinst_small.py", "./lite0_photographs.py"]
model = dict(**_base_.lite0)
