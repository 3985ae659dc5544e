"""F-ConNet, the baseline of RLS, at 32 x 32 pixels."""

_base_ = [
    "../_base_/models/rls_f-connet.py",
    "../_base_/datasets/shapes_single.py",
    "../_base_/schedules/scratch_small_16e.py",
    "../_base_/default_runtime.py",
]
model = dict(network=dict(size=(32, 32)))
optim_wrapper = dict(optimizer=dict(lr=3e-4))
randomness = dict(seed=0)
