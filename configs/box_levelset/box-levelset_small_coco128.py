"""BoxLevelSet from scratch on 128 images of COCO: a check on real data with 80 classes."""

_base_ = [
    "../_base_/models/box-levelset_small.py",
    "../_base_/datasets/coco128_boxes.py",
    "../_base_/schedules/scratch_small.py",
    "../_base_/default_runtime.py",
]
# At 1e-3 the masks collapse: their features have no norm.
optim_wrapper = dict(optimizer=dict(lr=3e-4))
default_hooks = dict(checkpoint=dict(interval=2))
model = dict(
    mask_head=dict(
        scale_ranges=((1, 96), (48, 192), (96, 384), (192, 768), (384, 2048)),
        num_grids=[32, 24, 16, 12, 8],
    )
)
