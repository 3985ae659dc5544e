"""RLS with convolutional gates on generated images of one object."""

_base_ = [
    "../_base_/models/rls_conv.py",
    "../_base_/datasets/shapes_single.py",
    "../_base_/schedules/scratch_small_16e.py",
    "../_base_/default_runtime.py",
]
optim_wrapper = dict(optimizer=dict(lr=5e-3))
randomness = dict(seed=0)
