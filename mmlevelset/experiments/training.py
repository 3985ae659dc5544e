"""Train the model of a config."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

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
    return made.parse_args(words)


def main(words: Sequence[str] | None = None) -> None:
    arguments = parse(words)
    with short_errors("train.py", arguments):
        choose_device(arguments)
        config = load_config(arguments)
        if arguments.amp:
            use_amp(config)
        if arguments.auto_scale_lr:
            scale_learning_rate(config)
        if arguments.resume:
            config.resume = True
            config.load_from = None
            if arguments.resume != "auto":
                config.load_from = require_file(arguments.resume, "the checkpoint")
        from mmlevelset.experiments.checks.config import require_fit

        require_fit(config, "train", "val")
        make_runner(config).train()
        leave_process_group()


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
