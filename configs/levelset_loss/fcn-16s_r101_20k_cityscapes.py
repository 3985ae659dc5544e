"""FCN-16s on Cityscapes, cross-entropy alone."""

_base_ = ["./fcn-32s_r101_20k_cityscapes.py"]
model = dict(decode_head=dict(skips=1))
