"""A hook that logs losses of a distributed run as means over its processes."""

from typing import Any

from mmengine.dist import all_reduce_dict
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import Tensor

from mmlevelset.registry import HOOKS


@HOOKS.register_module()
class MeanLossHook(Hook):
    """Log each loss as its mean over all processes; mmengine logs the first process's loss.

    Gradients are means over all processes, so these are the losses that a run is trained on.
    Other values that the model returns, such as accuracies, are averaged too; the number of
    objects in each process does not count. The cost is one all-reduce of a few numbers per
    iteration.

    Example:
        >>> custom_hooks = [dict(type="mmlevelset.MeanLossHook")]
    """

    # Run before mmengine's RuntimeInfoHook takes the values for the log.
    priority = "HIGHEST"

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: dict | None = None,
    ) -> None:
        """Replace each output by its mean; all processes must have outputs of the same names."""
        if not outputs:
            return
        values = {
            name: value.detach().float()
            for name, value in outputs.items()
            if isinstance(value, Tensor)
        }
        all_reduce_dict(values, op="mean")
        outputs.update(values)
