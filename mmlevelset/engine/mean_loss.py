"""Logs of a distributed run that speak of all its processes."""

from typing import Any

from mmengine.dist import all_reduce_dict
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor

from mmlevelset.registry import HOOKS


@HOOKS.register_module()
class MeanLossHook(Hook):
    """Logs the mean over all processes of what the model returns, not that of the first process.

    Gradients are such means too, so a run of several processes has the losses in its log that it
    is trained on. It costs one all-reduce of a few numbers an iteration. Values that are no losses,
    accuracies for example, are averaged likewise, whatever number of objects a process has.

    Example:
        >>> custom_hooks = [dict(type="mmlevelset.MeanLossHook")]
    """

    # Before mmengine's RuntimeInfoHook takes the values for the log.
    priority = "HIGHEST"

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: dict | None = None,
    ) -> None:
        """Replace the outputs by their means; all processes must have the same ones."""
        if not outputs:
            return
        values = {
            name: value.detach().float()
            for name, value in outputs.items()
            if isinstance(value, Tensor)
        }
        all_reduce_dict(values, op="mean")
        outputs.update(values)
