"""FCN-16s on Pascal VOC 2012 with SBD, cross-entropy alone."""

_base_ = ["./fcn-32s_r101_20k_voc.py"]
model = dict(decode_head=dict(skips=1))
