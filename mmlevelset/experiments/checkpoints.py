"""Loading of checkpoints: each weight must fit, or the error lists what does not.

OpenMMLab is imported only inside functions, after the device was chosen.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmlevelset.errors import InputError

if TYPE_CHECKING:
    from mmengine.hooks import Hook
    from torch import nn

SHOWN = 4


@dataclass
class Fit:
    """The comparison of a checkpoint's weights with a model's.

    Attributes:
        fitting: number of weights that both have, with the same shape.
        missing: names of the model's weights that the checkpoint lacks.
        unknown: names of the checkpoint's weights that the model lacks.
        misshapen: name -> (shape in the checkpoint, shape in the model).
    """

    fitting: int
    missing: list[str]
    unknown: list[str]
    misshapen: dict[str, tuple[tuple[int, ...], tuple[int, ...]]]

    @property
    def is_exact(self) -> bool:
        return not (self.missing or self.unknown or self.misshapen)

    def __str__(self) -> str:
        """Return all that does not fit, in one line."""
        shapes = [
            f"{name}: {there} in the checkpoint, {here} in the model"
            for name, (there, here) in self.misshapen.items()
        ]
        parts = [
            f"{len(names)} {'weight' if len(names) == 1 else 'weights'} {what}"
            f" ({_shortened(names, '; ' if names is shapes else ', ')})"
            for names, what in (
                (self.missing, "of the model missing in the checkpoint"),
                (self.unknown, "of the checkpoint unknown to the model"),
                (shapes, "of another shape"),
            )
            if names
        ]
        return "; ".join(parts)


def _shortened(names: Sequence[str], separator: str = ", ") -> str:
    more = len(names) - SHOWN
    shown = [*names[:SHOWN], f"and {more} more"] if more > 0 else names
    return separator.join(shown)


def read_checkpoint(source: str) -> dict[str, Any]:
    """Return the contents of a checkpoint file, a path or an address, on the CPU.

    Published weights, and checkpoints of this package's trainings, hold tensors and plain values
    alone, so that reading them runs no code. Other files are read as mmengine reads them: read them
    only if you trust their source.

    Raises:
        InputError: the file is missing, truncated, or no checkpoint.
    """
    if "://" not in source and not Path(source).is_file():
        raise InputError(f"the checkpoint {source} does not exist")
    try:
        checkpoint = _content(source)
    except Exception as error:  # torch and pickle raise many kinds on a damaged file
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(
            f"the checkpoint {source} cannot be read: it is damaged, or no file of torch"
            f" ({reason:.200})"
        ) from error
    if not isinstance(checkpoint, dict):
        raise InputError(
            f"{source} must hold a checkpoint, and holds a {type(checkpoint).__name__}"
        )
    return checkpoint


def _content(source: str) -> Any:
    import torch
    from mmengine.runner.checkpoint import CheckpointLoader

    if "://" in source:
        return CheckpointLoader.load_checkpoint(source, map_location="cpu")
    try:
        return torch.load(source, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:  # it holds more than tensors and plain values
        return torch.load(source, map_location="cpu", weights_only=False)


def weights_of(checkpoint: dict[str, Any], path: str) -> dict[str, Any]:
    """Return the weights in a checkpoint, without the prefix of a model wrapper.

    Raises:
        InputError: there are none.
    """
    from torch import Tensor

    state = checkpoint.get("state_dict", checkpoint)
    weights = state if isinstance(state, dict) else {}
    known = weights or state is not checkpoint
    if not known or not all(isinstance(value, Tensor) for value in weights.values()):
        raise InputError(f"{path} holds no weights of a model (`state_dict`)")
    return {re.sub(r"^module\.", "", name): value for name, value in weights.items()}


def load_fitting(model: nn.Module, weights: dict[str, Any]) -> Fit:
    """Load all weights that fit into the model, and return the comparison."""
    own = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    misshapen = {
        name: (tuple(value.shape), own[name])
        for name, value in weights.items()
        if name in own and tuple(value.shape) != own[name]
    }
    fitting = {name: value for name, value in weights.items() if name not in misshapen}
    # Modules may rename weights of their earlier versions, so torch says what is unknown.
    found = model.load_state_dict(fitting, strict=False)
    missing = [
        name
        for name in found.missing_keys
        if name not in misshapen and not name.endswith("num_batches_tracked")
    ]
    unknown = list(found.unexpected_keys)
    return Fit(len(fitting) - len(unknown), missing, unknown, misshapen)


def require_fit(fit: Fit, path: str, hint: str = "") -> None:
    """Raise an InputError if a weight does not fit; ``hint`` is the end of its message."""
    if not fit.is_exact:
        classes = "; models of other classes differ so" if fit.misshapen else ""
        raise InputError(
            f"the checkpoint {path} is not of the config's model: {fit}{classes}{hint}"
        )


def make_fit_check(path: str, partial: bool = False, hint: str = "") -> Hook:
    """Return a hook that compares the weights when mmengine's runner loads a checkpoint.

    Args:
        path: the checkpoint, for messages.
        hint: the end of the error if a weight does not fit.
        partial: some weights need not fit; the hook logs the weights that stay as they were
            initialised. At least one weight must fit.

    Raises:
        InputError: the file cannot be read, or has no weights.
    """
    from mmengine.hooks import Hook
    from mmengine.model import BaseTTAModel, is_model_wrapper

    if "://" not in path:
        weights_of(read_checkpoint(path), path)  # mmengine's errors do not name the file

    class CheckFit(Hook):
        priority = "VERY_LOW"  # after hooks that change the weights, such as those of averages

        def after_load_checkpoint(self, runner: Any, checkpoint: dict) -> None:
            model = runner.model
            while is_model_wrapper(model) or isinstance(model, BaseTTAModel):
                model = model.module
            weights = weights_of(checkpoint, path)
            fit = load_fitting(model, weights)
            if not partial:
                require_fit(fit, path, hint)
            if fit.is_exact:
                return
            if not fit.fitting:
                raise InputError(f"no weight of {path} fits the model: {fit}")
            random = [*fit.missing, *fit.misshapen]
            runner.logger.warning(
                f"{fit.fitting} weights were loaded from {path}."
                f" {len(random)} weights of the model stay as they were initialised:"
                f" {', '.join(random) or 'none'}."
                f" {len(fit.unknown)} weights of the checkpoint are not used:"
                f" {', '.join(fit.unknown) or 'none'}."
            )
            for name in (*fit.unknown, *fit.misshapen):  # mmengine would list them once more
                for kept in (name, f"module.{name}"):
                    checkpoint.get("state_dict", checkpoint).pop(kept, None)

    return CheckFit()
