"""Compare the class names of a checkpoint with those of a data set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mmengine.hooks import Hook

SHOWN = 4


def names_in(meta: dict[str, Any]) -> tuple[str, ...] | None:
    """Return the class names in a checkpoint's ``meta``, or None if it has none.

    mmengine writes them to ``meta["dataset_meta"]["classes"]``, older versions of mmdet to
    ``meta["CLASSES"]``.
    """
    found = {name.lower(): value for name, value in (meta.get("dataset_meta") or {}).items()}
    names = found.get("classes") or meta.get("CLASSES")
    if not names:
        return None
    return (names,) if isinstance(names, str) else tuple(names)


def difference(learned: Sequence[str], wanted: Sequence[str]) -> str | None:
    """Return the difference of two lists of class names in one line; None if they are equal.

    Args:
        learned: The names in the checkpoint, in the order of its labels.
        wanted: The names of the data set, in the order of its labels.
    """
    if list(learned) == list(wanted):
        return None
    if sorted(learned) == sorted(wanted):
        label = next(label for label, name in enumerate(learned) if name != wanted[label])
        return (
            f"the checkpoint has the data set's classes in another order: label {label} is"
            f" {learned[label]!r} in the checkpoint and {wanted[label]!r} in the data set"
        )
    return (
        f"the checkpoint's {_counted(learned)} are not the data set's {_counted(wanted)}"
        + _first_unlike(learned, wanted)
    )


def _counted(names: Sequence[str]) -> str:
    more = ", ..." if len(names) > SHOWN else ""
    noun = "class" if len(names) == 1 else "classes"
    return f"{len(names)} {noun} ({', '.join(names[:SHOWN])}{more})"


def _first_unlike(learned: Sequence[str], wanted: Sequence[str]) -> str:
    if len(learned) != len(wanted):
        return ""
    label = next(label for label, name in enumerate(learned) if name != wanted[label])
    if label < SHOWN:
        return ""
    return f": label {label} is {learned[label]!r} and {wanted[label]!r}"


def make_check(allow: bool) -> Hook:
    """Return a hook that compares the names when a checkpoint is loaded for a test.

    Args:
        allow: Log a difference as a warning. Otherwise a difference is an
            :class:`~mmlevelset.errors.InputError`.
    """
    from mmengine.hooks import Hook
    from mmengine.runner import Runner

    from mmlevelset.errors import InputError

    class CheckClasses(Hook):
        def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
            wanted = runner.test_dataloader.dataset.metainfo.get("classes")
            learned = names_in(checkpoint.get("meta") or {})
            if not wanted:
                return
            if learned is None:
                runner.logger.warning(
                    "the checkpoint names no classes: its labels are taken for the data set's"
                )
                return
            unlike = difference(learned, wanted)
            if unlike and not allow:
                raise InputError(
                    f"{unlike}; --allow-other-classes tests it all the same, label by label"
                )
            if unlike:
                runner.logger.warning(unlike)

    return CheckClasses()
