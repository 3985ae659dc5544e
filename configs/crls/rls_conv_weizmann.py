"""RLS with convolutional gates on Weizmann's one-object images."""

_base_ = [
    "../_base_/models/rls_conv.py",
    "../_base_/datasets/weizmann_single.py",
    "../_base_/schedules/scratch_small_40e.py",
    "../_base_/default_runtime.py",
]
model = dict(network=dict(num_discs=1), input_size=(64, 64))
default_hooks = dict(checkpoint=dict(interval=10, max_keep_ckpts=1))
optim_wrapper = dict(optimizer=dict(lr=5e-3))
