"""Resuming of a training: which checkpoint, and whether it belongs to the config.

mmengine takes the state of optimizer, schedule and seed from the checkpoint, whatever the config
says. So a setting that the state overrides must be the same in both.
"""

from __future__ import annotations

import ast
import copy
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmlevelset.errors import InputError
from mmlevelset.experiments.checkpoints import (
    load_fitting,
    read_checkpoint,
    require_fit,
    weights_of,
)
from mmlevelset.experiments.class_names import difference, names_in
from mmlevelset.experiments.overrides import NOT_THERE, changes, short, shortened
from mmlevelset.experiments.work_dir import checkpoint_folder

if TYPE_CHECKING:
    from mmengine.config import Config
    from mmengine.hooks import Hook

IN_THE_STATE = (
    "optim_wrapper.optimizer",
    "optim_wrapper.paramwise_cfg",
    "optim_wrapper.constructor",
    "param_scheduler",
    "auto_scale_lr",
    "train_dataloader.batch_size",
)
"""Settings that the state of a training overrides, or that its schedule counts on."""
OF_THE_TRAINING = (
    "model",
    "data_preprocessor",
    "train_dataloader",
    "train_cfg",
    "optim_wrapper",
    "custom_hooks",
    "randomness",
)
"""Settings that count from the next iteration on."""
OF_THE_MACHINE = ("num_workers", "persistent_workers", "pin_memory", "prefetch_factor", "seed")


def find_checkpoint(config: Config) -> tuple[Path | None, list[str]]:
    """Return the newest whole checkpoint of a config's work dir, and lines on how it was chosen.

    Returns:
        None if there is no checkpoint yet, or if mmengine has to find it on a remote disk.

    Raises:
        InputError: no checkpoint in the work dir is whole, or the only one is in another folder.
    """
    from mmlevelset.engine.checkpoint import newest_whole

    place = checkpoint_folder(config)
    if place is None:
        return None, []
    folder, template = place
    newest, broken = newest_whole(folder, template)
    notes = [f"{path} is not whole and was left out" for path in broken]
    pointer = Path(config.work_dir, "last_checkpoint")
    named = pointer.read_text(errors="replace").strip() if pointer.is_file() else ""
    if newest is None:
        if broken:
            raise InputError(
                f"no checkpoint in {folder} is whole ({', '.join(path.name for path in broken)}):"
                " --resume CHECKPOINT goes on from another file, and another --work-dir trains anew"
            )
        others = sorted(path for path in folder.glob("*.pth"))
        if named or others:
            raise InputError(
                f"{folder} holds no checkpoint {template.format('N')} to go on from"
                + (f"; last_checkpoint names {named}" if named else "")
                + (f"; there is {others[-1].name}" if others else "")
                + ": --resume CHECKPOINT names one, and another --work-dir trains anew"
            )
        return None, [f"{folder} holds no checkpoint yet: the training starts at the beginning"]
    if not named:
        notes.append(f"{pointer} {'is empty' if pointer.is_file() else 'is missing'}")
    elif Path(named).absolute() != newest.absolute():
        notes.append(f"{pointer} names {named}")
    return newest, [*notes, f"the training goes on from {newest}"]


def compare(config: Config, path: str) -> list[str]:
    """Compare a config with the checkpoint that its training is to go on from.

    Returns:
        Lines on the settings that differ and count from now on.

    Raises:
        InputError: the checkpoint does not hold the state of a training, its weights or its
            optimizer do not fit, or a setting that the state overrides differs.
    """
    checkpoint = read_checkpoint(path)
    other = (
        f"; --cfg-options load_from={path} in another --work-dir starts a new training from its"
        " weights"
    )
    meta = checkpoint.get("meta")
    parts = {"message_hub", "optimizer"} - checkpoint.keys()
    if not isinstance(meta, dict) or not {"epoch", "iter"} <= meta.keys() or parts:
        lacks = ", ".join(sorted(parts)) or "meta"
        raise InputError(f"{path} cannot be resumed, since it holds no {lacks}{other}")
    refused, notes = _settings(config, meta)
    seed = (config.get("randomness") or {}).get("seed")
    if seed is not None and meta.get("seed") not in (None, seed):
        refused.append(f"randomness.seed: {meta['seed']} in the checkpoint, {seed} in the config")
    elif seed is None and meta.get("seed") is not None:
        notes.append(f"the seed is the checkpoint's, {meta['seed']}")
    if refused:
        raise InputError(
            f"--resume: {path} was trained with other settings, which its state would keep:"
            f" {'; '.join(shortened(refused))}: give the checkpoint's values{other}"
        )
    _state(config, checkpoint, path, other)
    return notes


def _settings(config: Config, meta: dict[str, Any]) -> tuple[list[str], list[str]]:
    """Return the differences that are refused, and lines on the other differences."""
    before = literal_config(meta.get("cfg"))
    now = literal_config(config.pretty_text)
    if before is None or now is None:
        return [], ["the checkpoint's config cannot be read: settings were not compared"]
    refused, notes = [], []
    for key, (old, new) in changes(before, now).items():
        if key.split(".")[-1] in OF_THE_MACHINE:
            continue
        text = f"{key}: {_text(old)} in the checkpoint, {_text(new)} in the config"
        if _below(key, IN_THE_STATE):
            refused.append(text)
        elif _below(key, OF_THE_TRAINING):
            notes.append(f"{text}, which counts from now on")
    return refused, notes


def _below(key: str, parents: tuple[str, ...]) -> bool:
    return any(key == parent or key.startswith(f"{parent}.") for parent in parents)


def _text(value: Any) -> str:
    return "none" if value is NOT_THERE else short(value)


def _state(config: Config, checkpoint: dict[str, Any], path: str, other: str) -> None:
    """Check that the weights and the optimizer's parameters fit the config's model."""
    from mmdet.registry import MODELS
    from mmengine.optim import build_optim_wrapper
    from mmengine.registry import init_default_scope

    init_default_scope(config.get("default_scope", "mmdet"))
    model = MODELS.build(copy.deepcopy(config.model))  # mmdet writes into its settings
    require_fit(load_fitting(model, weights_of(checkpoint, path)), path, other)
    there = checkpoint["optimizer"].get("param_groups")
    if there is None:  # an optimizer for each part of the model
        return
    optimizer = build_optim_wrapper(model, config.optim_wrapper)
    sizes = [len(group["params"]) for group in optimizer.param_groups]
    if sizes != [len(group["params"]) for group in there]:
        raise InputError(
            f"--resume: the optimizer of {path} has {_groups(there)}, and the config's has"
            f" {_groups(optimizer.param_groups)}{other}"
        )


def _groups(groups: list[dict]) -> str:
    count = sum(len(group["params"]) for group in groups)
    return f"{count} parameters in {len(groups)} group{'s' * (len(groups) != 1)}"


def make_class_check(path: str) -> Hook:
    """Return a hook that compares the classes of checkpoint and training data at resuming."""
    from mmengine.hooks import Hook

    class CheckClasses(Hook):
        def after_load_checkpoint(self, runner: Any, checkpoint: dict) -> None:
            dataset = runner.train_dataloader.dataset
            wanted = (getattr(dataset, "metainfo", None) or {}).get("classes")
            learned = names_in(checkpoint.get("meta") or {})
            unlike = difference(learned, wanted) if wanted and learned else None
            if unlike:
                raise InputError(f"--resume {path}: {unlike}")

    return CheckClasses()


def literal_config(text: Any) -> dict[str, Any] | None:
    """Return the config in a dumped text, without running it; None if it is no plain text.

    A checkpoint may come from anywhere, so its config is not executed.
    """
    if not isinstance(text, str):
        return None
    found = {}
    try:
        for node in ast.parse(text).body:
            if not isinstance(node, ast.Assign) or not isinstance(node.targets[0], ast.Name):
                return None
            found[node.targets[0].id] = _literal(node.value)
    except (SyntaxError, ValueError, RecursionError):
        return None
    return found


def _literal(node: ast.expr) -> Any:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "dict":
        return {str(word.arg): _literal(word.value) for word in node.keywords}
    if isinstance(node, ast.Dict) and None not in node.keys:
        keys = [ast.literal_eval(key) for key in node.keys if key is not None]
        return dict(zip(keys, map(_literal, node.values), strict=True))
    if isinstance(node, ast.List | ast.Tuple):
        values = [_literal(value) for value in node.elts]
        return values if isinstance(node, ast.List) else tuple(values)
    if isinstance(node, ast.Name) and node.id in ("inf", "nan"):
        return getattr(math, node.id)
    return ast.literal_eval(node)
