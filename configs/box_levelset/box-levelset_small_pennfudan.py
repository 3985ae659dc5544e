"""BoxLevelSet from scratch on 110 photographs in COCO's layout: minutes on a CPU.

Ours, not the paper's: the projection alone for four epochs, masks detached inside the features,
and an energy of the image in L*a*b*.
"""

_base_ = [
    "../_base_/models/box-levelset_small.py",
    "../_base_/datasets/pennfudan_boxes.py",
    "../_base_/schedules/scratch_small_40e.py",
    "../_base_/default_runtime.py",
]
# At 1e-3 the masks collapse: their features have no norm.
optim_wrapper = dict(optimizer=dict(lr=3e-4))
default_hooks = dict(checkpoint=dict(interval=10))
model = dict(
    mask_head=dict(
        num_classes=1,
        warmup_iters=220,
        loss_level_set=dict(image_weight=0.2, image_space="lab", detach_features=True),
        scale_ranges=((1, 96), (48, 192), (96, 384), (192, 768), (384, 2048)),
        num_grids=[28, 24, 16, 12, 8],
    )
)
