"""RLS at 64 x 64 pixels on single pedestrians, from scratch. A checkpoint takes 2 GB."""

_base_ = [
    "../_base_/models/rls_dense.py",
    "../_base_/datasets/pennfudan_single.py",
    "../_base_/schedules/scratch_small_40e.py",
    "../_base_/default_runtime.py",
]
default_hooks = dict(checkpoint=dict(interval=10, max_keep_ckpts=1))
optim_wrapper = dict(optimizer=dict(lr=1e-4))
