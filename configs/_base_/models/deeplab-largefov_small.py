"""A small DeepLab-LargeFOV that trains from scratch on a CPU; losses at the size of the labels."""

_base_ = ["./deeplab-largefov_vgg16.py"]
model = dict(
    backbone=dict(base_channels=16, norm_cfg=dict(type="GN", num_groups=8), init_cfg=None),
    decode_head=dict(in_channels=128, fc_channels=128, dilation=4, loss_size="full", init_cfg=None),
)
