"""The small BoxLevelSet for photographs: EfficientNet-Lite0 with ImageNet weights."""

_base_ = ["./box-levelset_small.py", "./lite0_photographs.py"]
model = dict(
    **_base_.lite0,
    mask_head=dict(
        scale_ranges=((1, 96), (48, 192), (96, 384), (192, 768), (384, 2048)),
        num_grids=[28, 24, 16, 12, 8],
    ),
)
lite0 = dict(_delete_=True)
