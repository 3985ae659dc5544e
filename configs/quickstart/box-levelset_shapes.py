"""BoxLevelSet with the loss weights of the authors' code."""

_base_ = [
    "../_base_/models/box-levelset_small.py",
    "../_base_/datasets/shapes_boxes.py",
    "../_base_/schedules/scratch_small_16e.py",
    "../_base_/default_runtime.py",
]
model = dict(mask_head=dict(num_classes=4))
randomness = dict(seed=0)
