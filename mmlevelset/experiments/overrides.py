"""Overrides of a config: each takes effect, or is refused with the keys to set.

A config may have names that only its own files read while they are loaded, such as ``data_root``
or ``max_epochs``. Here they are called variables. An override of a variable loads the config again
with the new value, so the value reaches all places that the config used the variable for. A child
config that changes a variable of its base changes none of the base's settings;
:func:`read_config` refuses it and names these settings.
"""

from __future__ import annotations

import ast
import copy
import difflib
import inspect
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmlevelset.errors import InputError
from mmlevelset.experiments.schedule import check_schedule, scale_schedule

if TYPE_CHECKING:
    from mmengine.config import Config

READ_ELSEWHERE = {
    "runner_type",
    "strategy",
    "model_wrapper_cfg",
    "find_unused_parameters",
    "activation_checkpointing",
    "efficient_conv_bn_eval",
    "compile",
    "custom_imports",
    "tta_model",
    "tta_pipeline",
    "partial_load",
}
"""Top-level names that mmengine or a command reads, beside the arguments of mmengine's runner."""
DATASET_ARGUMENTS = ("ann_file", "data_prefix", "data_root", "metainfo")
NOT_THERE = object()
SHOWN_KEYS = 6
SHOWN_CHARACTERS = 60


@cache
def settings_of_runner() -> frozenset[str]:
    """Return the top-level names of a config that something reads after the config is loaded."""
    from mmengine.runner import Runner

    return frozenset(inspect.signature(Runner.__init__).parameters) | READ_ELSEWHERE


def is_variable(name: str) -> bool:
    """Whether only the files of a config can read this top-level name."""
    return name not in settings_of_runner()


@dataclass
class Names:
    """The names that the files of a config set and read at the top level; bases come first."""

    set_by: list[set[str]] = field(default_factory=list)
    read: set[str] = field(default_factory=set)

    def note(self, module: ast.AST) -> None:
        """Take in the names of one file."""
        own: set[str] = set()
        for node in ast.walk(module):
            if isinstance(node, ast.Name):
                (own if isinstance(node.ctx, ast.Store) else self.read).add(node.id)
            elif isinstance(node, ast.Attribute):  # _base_.name
                self.read.add(node.attr)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                # mmengine has put this in the place of {{_base_.name}}.
                found = re.fullmatch(r"_(\w[\w.]*)_[0-9a-f]{6}", node.value)
                self.read |= {found[1].split(".")[0]} if found else set()
        self.set_by.append(own)

    def of_several_files(self) -> list[str]:
        """Return the variables that more than one file sets."""
        names = dict.fromkeys(name for own in self.set_by for name in sorted(own))
        return [
            name
            for name in names
            if name != "_base_" and is_variable(name) and sum(name in s for s in self.set_by) > 1
        ]


def load_file(path: str | Path, values: Mapping[str, Any] | None = None) -> tuple[Config, Names]:
    """Return the config in a file, and the names in its files.

    Args:
        path: the file.
        values: values of variables, in place of all values that the files give them.

    Raises:
        InputError: the file cannot be read, or a value cannot be written in a config.
    """
    from mmengine.config import Config
    from mmengine.config import config as module

    names = Names()
    remover: Any = module.RemoveAssignFromAST

    class Loader(remover):
        def visit_Module(self, node: ast.Module) -> ast.AST:
            names.note(node)
            return self.generic_visit(node)

        def visit_Assign(self, node: ast.Assign) -> ast.AST | None:
            target = node.targets[0]
            if isinstance(target, ast.Name) and values and target.id in values:
                node.value = ast.copy_location(_as_code(target.id, values[target.id]), node)
                ast.fix_missing_locations(node)
                return node
            return super().visit_Assign(node)

    module.RemoveAssignFromAST = Loader
    try:
        return Config.fromfile(path), names
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"{path} cannot be read: {error}") from error
    finally:
        module.RemoveAssignFromAST = remover


def _as_code(name: str, value: Any) -> ast.expr:
    try:
        return ast.parse(repr(plain(value)), mode="eval").body
    except SyntaxError as error:
        raise InputError(f"{name} has a value that no config can hold: {value!r}") from error


def plain(value: Any) -> Any:
    """Return a value of a config as plain dicts, lists and tuples."""
    if isinstance(value, Mapping):
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(map(plain, value))
    return value


def settings(config: Config) -> dict[str, Any]:
    """Return the settings of a config as plain dicts, without its variables."""
    return {key: value for key, value in plain(config.to_dict()).items() if not is_variable(key)}


def flat(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Yield all values in nested dicts and lists with their dotted keys."""
    items: list[tuple[Any, Any]] = []
    if isinstance(value, dict):
        items = list(value.items())
    elif isinstance(value, list | tuple):
        items = list(enumerate(value))
    if not items or (isinstance(value, tuple) and not any(isinstance(v, dict) for v in value)):
        yield key, value  # a tuple of numbers is one value: a size, a range
    else:
        for step, inner in items:
            yield from flat(inner, f"{key}.{step}" if key else str(step))


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return dotted key -> (value before, value after), for all values that differ."""
    old, new = dict(flat(dict(before))), dict(flat(dict(after)))
    return {
        key: (old.get(key, NOT_THERE), new.get(key, NOT_THERE))
        for key in {**old, **new}
        if old.get(key, NOT_THERE) != new.get(key, NOT_THERE)
    }


def read_config(path: str | Path) -> Config:
    """Return the config in a file.

    Raises:
        InputError: the file cannot be read; or it changes a variable of its base, and the base's
            settings still have the old value; or it sets a name that nothing reads; or the
            schedule does not fit the length of the training.
    """
    config, names = load_file(path)
    check_variables(config, path, names)
    check_schedule(config, str(path))
    return config


def check_variables(config: Config, path: str | Path, names: Names) -> None:
    """Check that the variables that a child config sets reach the base's settings."""
    own = settings(config)
    for name in names.of_several_files():
        if name not in config or config[name] == {}:  # of a comprehension, or deleted
            continue
        try:
            wanted, _ = load_file(path, {name: config[name]})
        except InputError:
            continue  # a value such as a function: it cannot be tried
        missed = changes(own, settings(wanted))
        if missed:
            raise InputError(
                f"{path} sets {name} = {short(config[name])}, but the base config had used its own"
                f" value already: set {listed(missed)}"
            )
    if len(names.set_by) < 2:
        return
    known = settings_of_runner() | set().union(*names.set_by[:-1])
    for name in names.set_by[-1] - names.read - known:
        # `test_pipeline` is a common name of a variable.
        close = difflib.get_close_matches(name, known - {"tta_pipeline"}, 1, cutoff=0.85)
        if close:
            raise InputError(f"{path}: nothing reads {name}; did you mean {close[0]}?")
        if name.startswith("_") or name not in config:  # of a comprehension
            continue
        keys = [key for key in _dotted_keys(own) if key.rpartition(".")[2] == name]
        above = [key for key in _dotted_keys(own) if key.endswith("_dataloader.dataset")]
        keys += [f"{key}.{name}" for key in above if name in DATASET_ARGUMENTS and not keys]
        if keys:  # another name may be a note of the config's author
            raise InputError(
                f"{path} sets {name} at its top level, but nothing reads it there: set"
                f" {', '.join(shortened(keys))}"
            )


def override(
    config: Config,
    path: str | Path | None,
    options: Mapping[str, Any],
    what: str,
    strict: bool = True,
    say: Callable[[str], object] = print,
) -> Config:
    """Return the config with options in it.

    Args:
        config: as :func:`read_config` returns it.
        path: the config's file; None for a text, whose variables cannot be overridden.
        options: dotted key -> value.
        what: the name of the overrides in errors.
        strict: refuse a variable that no setting depends on.
        say: takes a line for each variable, and for each change of the schedule.

    Raises:
        InputError: a variable has no effect, or the schedule does not fit the length of the
            training.
    """
    merged = copy.deepcopy(config)
    merged.merge_from_dict(copy.deepcopy(dict(options)))
    names = dict.fromkeys(key.split(".")[0] for key in options)
    variables = [
        name
        for name in names
        if is_variable(name) and (name not in config or plain(merged[name]) != plain(config[name]))
    ]
    if variables:
        reached = _with_variables(config, path, {name: merged[name] for name in variables})
        for name in variables:
            # Another program than mmengine's runner reads a config without a model.
            if strict and "model" in config and not reached[name]:
                raise InputError(_without_effect(config, name, what))
        if path is not None and any(reached.values()):
            merged, _ = load_file(path, {name: merged[name] for name in variables})
            rest = {key: v for key, v in options.items() if key.split(".")[0] not in variables}
            merged.merge_from_dict(copy.deepcopy(rest))
        for name, keys in reached.items():
            if keys:
                say(f"{what} {name} = {short(merged[name])} sets {listed(keys)}")
    if not any(key.split(".")[0] == "param_scheduler" for key in options):
        of_length = {f"train_cfg.{key}" for key in ("max_epochs", "max_iters")}
        if of_length.intersection(_dotted(options)):
            for line in scale_schedule(merged, config):
                say(f"{what} {line}")
    if any(key.split(".")[0] in ("param_scheduler", "train_cfg") for key in options):
        check_schedule(merged, what)
    return merged


def _dotted(options: Mapping[str, Any]) -> Iterator[str]:
    for key, value in options.items():
        yield key
        if isinstance(value, dict):
            yield from (f"{key}.{inner}" for inner in _dotted(value))


def _with_variables(
    config: Config, path: str | Path | None, values: Mapping[str, Any]
) -> dict[str, dict[str, tuple[Any, Any]]]:
    """Return for each variable the settings that its new value changes."""
    before = settings(config)
    found: dict[str, dict[str, tuple[Any, Any]]] = {}
    for name, value in values.items():
        if path is None:
            found[name] = {}
            continue
        try:
            found[name] = changes(before, settings(load_file(path, {name: value})[0]))
        except InputError as error:
            raise InputError(f"{name} = {short(value)}: {error}") from error
    return found


def _without_effect(config: Config, name: str, what: str) -> str:
    start = f"{what} {name} would have no effect: no setting of the config depends on it"
    if name not in config:
        close = difflib.get_close_matches(name, [*settings_of_runner(), *config], 1)
        return start + (f"; did you mean {close[0]}?" if close else "")
    old = plain(config[name])
    places = [key for key, value in flat(settings(config)) if _holds(value, old)]
    places += [key for key in _dicts_equal_to(settings(config), old) if key not in places]
    if not places:
        return start
    return f"{start}; its value stands in {', '.join(shortened(places))}: set these keys"


def _dotted_keys(value: Any, key: str = "") -> Iterator[str]:
    """Yield the dotted keys of nested dicts and of the dicts in lists, those of dicts too."""
    if isinstance(value, dict):
        items: list[tuple[Any, Any]] = list(value.items())
    else:
        items = list(enumerate(value)) if isinstance(value, list | tuple) else []
    for step, inner in items:
        name = f"{key}.{step}" if key else str(step)
        yield name
        yield from _dotted_keys(inner, name)


def _holds(value: Any, old: Any) -> bool:
    if isinstance(old, str) and isinstance(value, str):
        return bool(old) and value.startswith(old)
    return type(value) is type(old) and value == old and not isinstance(value, bool)


def _dicts_equal_to(value: Any, old: Any, key: str = "") -> Iterator[str]:
    if not isinstance(old, dict | list) or not old:
        return
    if key and value == old:
        yield key
    elif isinstance(value, dict):
        for step, inner in value.items():
            yield from _dicts_equal_to(inner, old, f"{key}.{step}" if key else str(step))


def listed(found: Mapping[str, tuple[Any, Any]]) -> str:
    """Return ``key=value`` for changed keys, with the values after the change."""
    words = [
        f"{key} (remove it)" if after is NOT_THERE else f"{key}={short(after)}"
        for key, (_, after) in found.items()
    ]
    return " ".join(shortened(words))


def shortened(words: Sequence[str]) -> list[str]:
    """Return a list with at most :data:`SHOWN_KEYS` entries and the number of the others."""
    more = len(words) - SHOWN_KEYS
    return [*words[:SHOWN_KEYS], f"and {more} more"] if more > 0 else list(words)


def short(value: Any) -> str:
    """Return the text of a value, cut off if it is long."""
    text = repr(plain(value))
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}..."
