"""RLS at 64 x 64 pixels on single pedestrians, from scratch. A checkpoint takes 2 GB."""

_base_ = [
    "../_base_/models/rls_dense.py",
    "../_base_/datasets/pennfudan_single.py",
    "../_base_/schedules/scratch_small_40e.py",
    "../_base_/default_runtime.py",
]
# An update of 168 million weights takes longer than the gradients of an image.
train_dataloader = dict(batch_size=32)
default_hooks = dict(checkpoint=dict(interval=10, max_keep_ckpts=1))
optim_wrapper = dict(optimizer=dict(lr=1e-4))
