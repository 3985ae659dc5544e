"""The same with inputs of three scales."""

_base_ = ["./deeplabv2_level-set_shapes.py"]
model = dict(multi_scale=dict(scales=(0.5, 0.75, 1.0), supervise_scales=True))
