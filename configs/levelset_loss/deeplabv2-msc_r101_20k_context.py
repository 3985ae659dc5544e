"""DeepLab-v2 with inputs of three scales on Pascal-Context, cross-entropy alone."""

_base_ = ["./deeplabv2_r101_20k_context.py"]
model = dict(multi_scale=dict(scales=(0.5, 0.75, 1.0), supervise_scales=True))
