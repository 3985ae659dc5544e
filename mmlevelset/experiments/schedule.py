"""The length of a training and its schedule.

A schedule (``param_scheduler``) counts in epochs or iterations. A part of the schedule beyond the
end of the training has no effect, and a cosine that ends early makes the learning rate rise again.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from mmlevelset.errors import InputError

if TYPE_CHECKING:
    from mmengine.config import Config

POINTS = ("begin", "end")
LENGTHS = ("T_max", "step_size", "total_steps")
LISTS = ("milestones", "periods", "restarts")
ENDLESS = 10**9
"""mmengine's ``end`` of a schedule without an end."""


def length_of(config: Config) -> tuple[str, int] | None:
    """Return ``max_epochs`` or ``max_iters`` with its value; None if the config trains nothing."""
    loop = config.get("train_cfg") or {}
    for key in ("max_epochs", "max_iters"):
        if isinstance(loop.get(key), int | float) and loop[key] > 0:
            return key, loop[key]
    return None


def scale_schedule(config: Config, before: Config) -> list[str]:
    """Scale the schedule of a config to its length, from the length that it had before.

    Of each scheduler that counts in the unit of the training (``by_epoch``), begin, end, T_max,
    step_size, total_steps, milestones, periods and restarts are multiplied and rounded; so is
    ``val_begin``. A warm-up in iterations of a training in epochs stays.

    Returns:
        ``KEY = NEW (was OLD)`` for each changed key.
    """
    now, then = length_of(config), length_of(before)
    if now is None or then is None or now[0] != then[0] or now[1] == then[1]:
        return []
    ratio = now[1] / then[1]
    changed = []

    def scale(settings: Any, key: str, where: str, least: int) -> None:
        old = settings.get(key)
        new: Any = old
        if isinstance(old, int) and not isinstance(old, bool) and 0 < old < ENDLESS:
            new = max(least, round(old * ratio))
        elif isinstance(old, list | tuple):
            new = [max(1, round(step * ratio)) for step in old]
        if new != old:
            settings[key] = new
            changed.append(f"{where}{key} = {new} (was {old})")

    for where, scheduler in schedulers(config, now[0]):
        for key in (*POINTS, *LENGTHS, *LISTS):
            scale(scheduler, key, f"{where}.", 0 if key == "begin" else 1)
    scale(config.train_cfg, "val_begin", "train_cfg.", 1)
    return changed


def schedulers(config: Config, length: str) -> Iterator[tuple[str, Any]]:
    """Yield the schedulers that count in the unit of ``length``, with their dotted keys."""

    def walk(value: Any, key: str) -> Iterator[tuple[str, Any]]:
        if isinstance(value, list | tuple):
            for step, inner in enumerate(value):
                yield from walk(inner, f"{key}.{step}")
        elif hasattr(value, "keys") and "type" in value:
            if bool(value.get("by_epoch", True)) == (length == "max_epochs"):
                yield key, value
        elif hasattr(value, "keys"):  # a schedule for each optimizer
            for step, inner in value.items():
                yield from walk(inner, f"{key}.{step}")

    yield from walk(config.get("param_scheduler"), "param_scheduler")


def check_schedule(config: Config, where: str) -> None:
    """Check that the schedule fits the length of the training.

    Raises:
        InputError: a part of the schedule is beyond the end of the training, or a cosine ends
            before the end.
    """
    found = length_of(config)
    if found is None:
        return
    name, length = found
    misfits = []
    for key, scheduler in schedulers(config, name):
        begin = _number(scheduler.get("begin")) or 0
        end = _number(scheduler.get("end"))
        last = length if end is None else min(end, length)
        if begin >= length:
            misfits.append(f"{key}.begin = {begin}")
        if end is not None and end > length:
            misfits.append(f"{key}.end = {end}")
        half = _number(scheduler.get("T_max"))
        cosine = str(scheduler.get("type")).startswith(("CosineAnnealing", "mmengine.Cosine"))
        if half is not None and (begin + half > length or (cosine and begin + half < last)):
            misfits.append(f"{key}.T_max = {half}")
        steps = scheduler.get("milestones")
        if isinstance(steps, list | tuple) and any((_number(s) or 0) > length for s in steps):
            misfits.append(f"{key}.milestones = {list(steps)}")
    if (_number(config.train_cfg.get("val_begin")) or 0) > length:
        misfits.append(f"train_cfg.val_begin = {config.train_cfg.val_begin}")
    if misfits:
        raise InputError(
            f"{where}: the schedule does not fit train_cfg.{name} = {length}: {', '.join(misfits)};"
            f" set these keys too (train_cfg.{name} on the command line or in a sweep's options,"
            " without a param_scheduler, scales the schedule)"
        )


def _number(value: Any) -> float | None:
    known = isinstance(value, int | float) and not isinstance(value, bool)
    return value if known and value < ENDLESS else None
