"""Train the model of a config."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mmlevelset.errors import InputError
from mmlevelset.experiments.command_line import (
    choose_device,
    leave_process_group,
    load_config,
    make_runner,
    parser,
    require_file,
    short_errors,
)
from mmlevelset.experiments.work_dir import claim, require_unused

if TYPE_CHECKING:
    from mmengine.config import Config


def parse(words: Sequence[str] | None) -> argparse.Namespace:
    made = parser("Train the model of a config.")
    made.add_argument("--amp", action="store_true", help="automatic mixed precision, on CUDA")
    made.add_argument(
        "--auto-scale-lr",
        action="store_true",
        help="scale the learning rate from auto_scale_lr.base_batch_size to the real batch",
    )
    made.add_argument(
        "--resume",
        nargs="?",
        const="auto",
        metavar="CHECKPOINT",
        help="go on from this checkpoint; without a value, from the latest in the work dir",
    )
    made.add_argument(
        "--partial-load",
        action="store_true",
        help="load the weights of load_from that fit; the others stay as they were initialised",
    )
    return made.parse_args(words)


def main(words: Sequence[str] | None = None) -> None:
    arguments = parse(words)
    with short_errors("train.py", arguments):
        choose_device(arguments)
        config = load_config(arguments)
        from mmlevelset.experiments.checks.config import require_fit
        from mmlevelset.experiments.checks.values import require_keys

        require_keys(config, "train")
        if arguments.amp:
            use_amp(config)
        if arguments.auto_scale_lr:
            scale_learning_rate(config)
        if arguments.partial_load:
            config.partial_load = True
        require_fit(config, "train", "val")
        resume = arguments.resume or ("auto" if config.get("resume") else None)
        with claim(config):
            notes = prepare(config, resume)
            runner = make_runner(config)
            for note in notes:
                runner.logger.warning(note)
            register_checks(runner, config)
            runner.train()
        leave_process_group()


def prepare(config: Config, resume: str | None) -> list[str]:
    """Choose the checkpoint that a training starts from, and compare it with the config.

    Args:
        config: takes ``resume`` and ``load_from``.
        resume: a checkpoint, or "auto" for the newest of the work dir; None begins a training.

    Returns:
        Lines for the log.

    Raises:
        InputError: there is no whole checkpoint, the config is not its config, or a new training
            would overwrite the checkpoints of an earlier one.
    """
    if not resume:
        require_unused(config)
        if config.get("load_from"):
            require_file(config.load_from, "the checkpoint load_from =")
        return []
    from mmlevelset.experiments import resuming

    notes: list[str] = []
    if resume == "auto":
        found, notes = resuming.find_checkpoint(config)
        if found is None:
            config.resume = not notes  # without a note, mmengine looks on a remote disk
            if config.resume:
                config.load_from = None
            return notes
        resume = str(found)
    config.resume = True
    config.load_from = require_file(resume, "the checkpoint")
    return [*notes, *resuming.compare(config, config.load_from)]


def register_checks(runner: Any, config: Config) -> None:
    """Add hooks that check a checkpoint when the runner loads it, and what a killed run missed."""
    from mmlevelset.experiments.checkpoints import make_fit_check
    from mmlevelset.experiments.resuming import make_class_check

    if config.get("resume"):
        from mmlevelset.engine import MissedValidationHook

        runner.register_hook(MissedValidationHook())
        runner.register_hook(make_class_check(str(config.load_from)))
    elif config.get("load_from"):
        partial = bool(config.get("partial_load"))
        hint = "; --partial-load loads the weights that fit"
        runner.register_hook(make_fit_check(config.load_from, partial, hint))


def use_amp(config: Config) -> None:
    import torch

    if not torch.cuda.is_available():
        raise InputError("--amp needs a CUDA device")
    kind = config.optim_wrapper.get("type", "OptimWrapper")
    if kind == "AmpOptimWrapper":
        return
    if kind != "OptimWrapper":
        raise InputError(f"--amp needs an optim_wrapper of type 'OptimWrapper', not {kind!r}")
    config.optim_wrapper.type = "AmpOptimWrapper"
    config.optim_wrapper.setdefault("loss_scale", "dynamic")


def scale_learning_rate(config: Config) -> None:
    if "base_batch_size" not in config.get("auto_scale_lr", {}):
        raise InputError("--auto-scale-lr needs auto_scale_lr.base_batch_size in the config")
    config.auto_scale_lr.enable = True


if __name__ == "__main__":
    main()
