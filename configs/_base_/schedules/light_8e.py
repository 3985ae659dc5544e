"""The schedule of scratch_small.py with half its learning rate, for masks from boxes."""

_base_ = ["./scratch_small.py"]
optim_wrapper = dict(optimizer=dict(lr=5e-4))
auto_scale_lr = dict(base_batch_size=2)
