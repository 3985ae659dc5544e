"""The default runtime, with faster convolutions on a CPU."""

_base_ = ["./default_runtime.py"]
custom_hooks = [*_base_.custom_hooks, dict(type="mmlevelset.ChannelsLastHook")]
