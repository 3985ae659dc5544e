"""FCN-16s on Pascal-Context, cross-entropy alone."""

_base_ = ["./fcn-32s_r101_20k_context.py"]
model = dict(decode_head=dict(skips=1))
