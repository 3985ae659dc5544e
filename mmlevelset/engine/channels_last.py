"""A hook that stores a model's weights with the channels last."""

from typing import Any

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor, nn

from mmlevelset.registry import HOOKS


@HOOKS.register_module()
class ChannelsLastHook(Hook):
    """Store convolutions' weights in ``torch.channels_last``; their outputs then follow.

    PyTorch's convolutions are faster in this order of memory on a CPU, and in half precision on a
    GPU. Results differ by rounding alone. Layers of ``mmcv.ops``, RoIAlign and deformable
    convolutions among them, read memory as if the channels came first: their weights stay so, and
    they get copies of their maps.

    Example:
        >>> custom_hooks = [dict(type="mmlevelset.ChannelsLastHook")]
    """

    def before_run(self, runner: Runner) -> None:
        """Convert the model."""
        runner.model.to(memory_format=torch.channels_last)
        for module in runner.model.modules():
            if type(module).__module__.startswith("mmcv.ops."):
                module.to(memory_format=torch.contiguous_format)
                module.register_forward_pre_hook(_channels_first, with_kwargs=True)


def _channels_first(module: nn.Module, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
    return tuple(map(_contiguous, args)), {name: _contiguous(v) for name, v in kwargs.items()}


def _contiguous(value: Any) -> Any:
    return value.contiguous() if isinstance(value, Tensor) else value
