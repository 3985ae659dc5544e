"""Values of a config that a library would only refuse later, without the key."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from mmlevelset.errors import InputError
from mmlevelset.experiments.overrides import short

NEEDED = {
    "train": ("model", "train_dataloader", "train_cfg", "optim_wrapper"),
    "val": ("model", "val_dataloader"),
    "test": ("model", "test_dataloader", "test_cfg", "test_evaluator"),
}
"""Split -> the keys that a command on this split cannot do without."""


def require_keys(config: Any, split: str) -> None:
    """Raise an InputError if a config lacks a key that a command on this split needs."""
    lacking = [key for key in NEEDED[split] if config.get(key) is None]
    if lacking:
        raise InputError(f"the config has no {', '.join(lacking)}")


def _whole(least: int) -> tuple[Callable[[Any], bool], str]:
    return lambda value: type(value) is int and value >= least, f"a whole number from {least} on"


def _rate(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value) and value >= 0


RATE = _rate, "a number from 0 on"
OF_TRAINING = {
    "train_cfg.max_epochs": _whole(1),
    "train_cfg.max_iters": _whole(1),
    "train_cfg.val_interval": _whole(1),
    "optim_wrapper.optimizer.lr": RATE,
    "optim_wrapper.optimizer.weight_decay": RATE,
    "randomness.seed": _whole(0),
}
OF_LOADER = {"batch_size": _whole(1), "num_workers": _whole(0)}
"""Key -> a test of its value, and the values that pass."""


def value_troubles(config: Any, split: str) -> list[str]:
    """Return a line for each key whose value no run can use.

    Args:
        config: mmengine's config.
        split: ``train``, ``val`` or ``test``.
    """
    rules = {f"{split}_dataloader.{key}": rule for key, rule in OF_LOADER.items()}
    if split == "train":
        rules |= OF_TRAINING
    troubles = []
    for key, (passes, kind) in rules.items():
        value = _value(config, key)
        if value is not None and not passes(value):
            troubles.append(f"{key} must be {kind}, and is {short(value)}")
    if split == "train":
        troubles += _optimizer_troubles(config)
    return troubles


def _optimizer_troubles(config: Any) -> list[str]:
    from mmengine.registry import OPTIMIZERS

    kind = _value(config, "optim_wrapper.optimizer.type")
    if isinstance(kind, str) and OPTIMIZERS.get(kind) is None:
        return [f"optim_wrapper.optimizer.type = {kind!r} is no registered optimizer"]
    return []


def _value(config: Any, key: str) -> Any:
    """Return the value under a dotted key; None without one."""
    for step in key.split("."):
        if not hasattr(config, "get"):
            return None
        config = config.get(step)
    return config
