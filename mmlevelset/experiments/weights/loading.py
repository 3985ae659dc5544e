"""Reading of weights and checkpoints, and strict loading into a model."""

from __future__ import annotations

import argparse
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from mmlevelset.errors import InputError
from mmlevelset.experiments.checkpoints import (
    load_fitting,
    read_checkpoint,
    require_fit,
    weights_of,
)
from mmlevelset.experiments.class_names import names_in
from mmlevelset.experiments.command_line import read_config

if TYPE_CHECKING:
    from mmengine.config import Config
    from torch import Tensor, nn


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

    Raises:
        InputError: The file does not exist, or is no checkpoint.
    """
    content = read_checkpoint(source)
    state = weights_of(content, source)
    meta = content.get("meta") or {} if "state_dict" in content else {}
    return Weights(source, state, meta)


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
    require_fit(load_fitting(model, weights.state), weights.source)
