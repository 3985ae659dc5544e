"""RLS with dense gates on generated images of one object, at 32 x 32 pixels: 10 million weights.

The paper has 64 x 64 pixels and sixteen times the weights: ``--cfg-options
model.network.size=[64,64]``.
"""

_base_ = [
    "../_base_/models/rls_dense.py",
    "../_base_/datasets/shapes_single.py",
    "../_base_/schedules/scratch_small_16e.py",
    "../_base_/default_runtime.py",
]
model = dict(network=dict(size=(32, 32)))
optim_wrapper = dict(optimizer=dict(lr=3e-4))
randomness = dict(seed=0)
