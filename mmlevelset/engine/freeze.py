"""A hook that trains only some parts of a model."""

from collections.abc import Sequence

from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd
from torch.nn.parallel import DistributedDataParallel

from mmlevelset.registry import HOOKS


@HOOKS.register_module()
class FreezeHook(Hook):
    """Freeze all parameters outside the named parts when training starts.

    Frozen parameters get no gradient, so the optimizer does not change them, and the backward
    pass stops where the trained parts begin. Outside of the trained parts, batch normalisation
    keeps its statistics and dropout is off.

    Args:
        trained: Names of submodules at any depth, as they appear in the names of parameters:
            ``("refinement",)`` trains ``roi_head.mask_head.refinement.*``.

    Raises:
        ValueError: ``trained`` is not a list of names. When training starts: the model has no
            submodule of a name with parameters, or a distributed model is wrapped without
            ``find_unused_parameters=True``.

    Example:
        >>> custom_hooks = [dict(type="mmlevelset.FreezeHook", trained=("refinement",))]
    """

    def __init__(self, trained: Sequence[str]) -> None:
        names = isinstance(trained, Sequence) and not isinstance(trained, str)
        if not names or not trained or not all(isinstance(name, str) for name in trained):
            raise ValueError(f"trained must be a list of submodules' names, but is {trained!r}")
        self.trained = tuple(trained)
        self._frozen: list[nn.Module] = []

    def before_train(self, runner: Runner) -> None:
        """Freeze the parameters."""
        model = runner.model
        if isinstance(model, DistributedDataParallel) and not model.find_unused_parameters:
            raise ValueError("find_unused_parameters must be True in the config, but is False")
        model = model.module if is_model_wrapper(model) else model
        found = set()
        for name, parameter in model.named_parameters():
            parts = set(name.split(".")[:-1]).intersection(self.trained)
            found |= parts
            if not parts:
                parameter.requires_grad_(False)
        missing = [name for name in self.trained if name not in found]
        if missing:
            raise ValueError(
                "trained must name submodules with parameters, but the model has none named"
                f" {missing[0]!r}"
            )
        self._frozen = [
            module
            for name, module in model.named_modules()
            if isinstance(module, _BatchNorm | _DropoutNd)
            and not set(name.split(".")).intersection(self.trained)
        ]

    def before_train_iter(self, runner: Runner, *args, **kwargs) -> None:
        """Set frozen modules to evaluation, after the loop has set all modules to training."""
        for module in self._frozen:
            module.eval()
