"""Reading of weights and checkpoints, and strict loading into a model."""

from __future__ import annotations

import argparse
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from mmlevelset.errors import InputError
from mmlevelset.experiments.class_names import names_in
from mmlevelset.experiments.command_line import read_config

if TYPE_CHECKING:
    from mmengine.config import Config
    from torch import Tensor, nn

SHOWN = 8
"""The number of keys of a kind that an error names."""


@dataclass
class Weights:
    """The weights of a model, from published weights or from a checkpoint of a training.

    Attributes:
        source: The path or the address of the file.
        state: The tensors by their names in the model.
        meta: The facts that the file has. Of published weights: see
            :func:`mmlevelset.experiments.weights.publishing.published`.
    """

    source: str
    state: dict[str, Tensor]
    meta: dict[str, Any] = field(default_factory=dict)

    @property
    def classes(self) -> tuple[str, ...] | None:
        """The names of the classes in the order of the labels; None if the file has none."""
        return names_in(self.meta)

    @property
    def config_text(self) -> str | None:
        """The flat text of the config; None if the file has none."""
        return self.meta.get("cfg")

    @property
    def config_name(self) -> str:
        """The name of the config, of published weights or of the experiment; "" if unknown."""
        experiment = str(self.meta.get("experiment_name", ""))
        return self.meta.get("config") or re.sub(r"_\d{8}_\d{6}$", "", experiment)


def read_weights(source: str) -> Weights:
    """Read published weights, or a checkpoint of mmengine, from a path or an address.

    Published weights hold tensors and plain values alone, so that reading them runs no code. A
    checkpoint of a training holds more. It is read as mmengine reads it: read only checkpoints
    whose source you trust.

    Raises:
        InputError: The file does not exist, or is no checkpoint.
    """
    if "://" not in source and not Path(source).is_file():
        raise InputError(f"the checkpoint {source} does not exist")
    try:
        content = _content(source)
    except Exception as error:
        raise InputError(f"{source} is no checkpoint, or is truncated: {error}") from error
    state = content.get("state_dict", content) if isinstance(content, dict) else None
    if state is None or not all(hasattr(one, "is_floating_point") for one in state.values()):
        raise InputError(f"{source} holds no state_dict of tensors")
    meta = content.get("meta") or {} if state is not content else {}
    # A wrapper for several processes has its model in `module`.
    tensors = {name.removeprefix("module."): value for name, value in state.items()}
    return Weights(source, tensors, meta)


def _content(source: str) -> Any:
    import pickle

    import torch

    if "://" in source:
        from mmengine.runner.checkpoint import CheckpointLoader

        return CheckpointLoader.load_checkpoint(source, map_location="cpu")
    try:
        return torch.load(source, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        return torch.load(source, map_location="cpu", weights_only=False)


def config_of(weights: Weights, arguments: argparse.Namespace) -> tuple[Config, str]:
    """Return the config of --config, or else of the file, with the overrides; and its name.

    Args:
        weights: The weights.
        arguments: ``config`` and those of
            :func:`~mmlevelset.experiments.command_line.add_config_options`.

    Raises:
        InputError: There is none, or it cannot be read.
    """
    if arguments.config:
        return read_config(arguments), Path(arguments.config).stem
    if weights.config_text is None:
        raise InputError(f"the checkpoint {weights.source} holds no config: give --config")
    arguments.config = f"the config in {weights.source}"
    return read_config(arguments, weights.config_text), weights.config_name


def load_strictly(model: nn.Module, weights: Weights) -> None:
    """Load weights into a model that has the same names and shapes.

    The tensors take the types of the model's: float16 becomes float32 again. A wrapper, such as
    :class:`mmlevelset.TiledDetector`, takes the weights of the model in it.

    Raises:
        InputError: Names are missing or unknown, or shapes differ; the message lists all three.
    """
    from mmengine.model import BaseTTAModel, is_model_wrapper

    while isinstance(model, BaseTTAModel) or is_model_wrapper(model):
        model = cast("nn.Module", model.module)
    try:
        model.load_state_dict(weights.state, strict=True)
    except RuntimeError as error:
        unlike = differences(model.state_dict(), weights.state)
        reason = unlike or " ".join(str(error).split())[:300]
        raise InputError(
            f"the checkpoint {weights.source} is not of the config's model: {reason}"
        ) from error


def differences(wanted: dict[str, Tensor], given: dict[str, Tensor]) -> str:
    """Return the names and shapes by which two states differ, in one line; "" if they agree.

    Args:
        wanted: The state of the model.
        given: The state of the file.
    """
    kinds = {
        "missing": [name for name in wanted if name not in given],
        "unknown": [name for name in given if name not in wanted],
        "of another shape": [
            f"{name} {tuple(given[name].shape)}, the model's is {tuple(wanted[name].shape)}"
            for name in wanted
            if name in given and given[name].shape != wanted[name].shape
        ],
    }
    return "; ".join(f"{kind}: {_listed(names)}" for kind, names in kinds.items() if names)


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
