"""DeepLab-LargeFOV with inputs of three scales on Cityscapes, cross-entropy alone."""

_base_ = ["./deeplab-largefov_vgg16_20k_cityscapes.py"]
model = dict(multi_scale=dict(scales=(0.5, 0.75, 1.0), supervise_scales=True))
