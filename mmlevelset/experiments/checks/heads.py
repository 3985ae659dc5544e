"""The outputs of a model's heads against the classes of its data."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from typing import Any

BINARY = ("CropInstance", "BinaryLabels")
"""Transforms that make labels 0 and 1 of all classes."""


def head_outputs(model: dict, scope: str = "mmdet") -> dict[str, int]:
    """Return the number of classes of each head of a model's config, by the head's key.

    A head counts if its type, or a base of it, has an argument ``num_classes`` or
    ``num_things_classes``; its default holds where the config has none. An RPN tells objects from
    background, and a class-agnostic head has one output for all classes: both are left out.
    """
    from mmengine.registry import DefaultScope

    with DefaultScope.overwrite_default_scope(scope):
        return dict(_outputs(model, "model"))


def _outputs(settings: Any, key: str) -> Iterator[tuple[str, int]]:
    if isinstance(settings, list | tuple):
        for index, inner in enumerate(settings):
            yield from _outputs(inner, f"{key}.{index}")
    if not hasattr(settings, "items"):
        return
    name = next(step for step in reversed(key.split(".")) if not step.isdecimal())
    if name == "rpn_head":
        return
    if name.endswith(("head", "heads")) and not settings.get("class_agnostic", False):
        for argument in ("num_classes", "num_things_classes"):
            default = _default(settings.get("type"), argument)
            count = settings.get(argument, default) if default is not None else None
            if type(count) is int and count > 0:
                yield f"{key}.{argument}", count
    for step, inner in settings.items():
        yield from _outputs(inner, f"{key}.{step}")


def _default(kind: Any, argument: str) -> Any:
    """Return the default of a type's number of classes; None if it has no outputs for classes."""
    from mmdet.registry import MODELS

    found = MODELS.get(kind) if isinstance(kind, str) else kind
    if not getattr(found, "PREDICTS_CLASSES", True):
        return None
    for base in getattr(found, "__mro__", ()):
        arguments = inspect.signature(base.__init__).parameters
        if argument in arguments:
            return arguments[argument].default
    return None


def head_troubles(
    outputs: dict[str, int], classes: Sequence[str], transforms: set[str]
) -> list[str]:
    """Return a line if heads do not have one output for each label of the data.

    Args:
        outputs: The result of :func:`head_outputs`.
        classes: The classes of the data.
        transforms: The names of the transforms of the data's pipeline.
    """
    binary = transforms & {*BINARY, *(f"mmlevelset.{name}" for name in BINARY)}
    count = 2 if binary else len(classes)
    wrong = {key: found for key, found in outputs.items() if found != count}
    if not wrong:
        return []
    have = ", ".join(f"{key}={found}" for key, found in wrong.items())
    mend = " ".join(f"{key}={count}" for key in wrong)
    what = (
        f"{min(binary)} makes 2 labels"
        if binary
        else f"the data has {count} class{'es' * (count != 1)} ({_shown(classes)})"
    )
    return [f"{what}, but the model has {have}: --cfg-options {mend}"]


def _shown(classes: Sequence[str], most: int = 6) -> str:
    return ", ".join(classes[:most]) + ", ..." * (len(classes) > most)
