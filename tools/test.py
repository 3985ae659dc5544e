"""Evaluate a checkpoint of a config's model."""

from __future__ import annotations

import argparse
from pathlib import Path

from command_line import (
    UsageError,
    choose_device,
    leave_process_group,
    load_config,
    make_runner,
    parser,
    require_file,
    short_errors,
)


def parse() -> argparse.Namespace:
    made = parser("Evaluate a checkpoint of a config's model.")
    made.add_argument("checkpoint", help="path of the checkpoint file")
    made.add_argument("--out", metavar="FILE.pkl", help="write all predictions to this file")
    made.add_argument("--show-dir", metavar="FOLDER", help="draw all predictions into this folder")
    return made.parse_args()


def main() -> None:
    arguments = parse()
    with short_errors("test.py", arguments):
        if arguments.out and not arguments.out.endswith((".pkl", ".pickle")):
            raise UsageError(f"--out must end in .pkl or .pickle, and was {arguments.out}")
        choose_device(arguments)
        config = load_config(arguments)
        config.load_from = require_file(arguments.checkpoint, "the checkpoint")
        if arguments.show_dir:
            draw_into(config, Path(arguments.show_dir).absolute())
        runner = make_runner(config)
        if arguments.out:
            from mmdet.evaluation import DumpDetResults

            runner.test_evaluator.metrics.append(DumpDetResults(out_file_path=arguments.out))
        runner.test()
        leave_process_group()


def draw_into(config, folder: Path) -> None:
    hook = config.get("default_hooks", {}).get("visualization")
    if hook is None:
        raise UsageError("--show-dir needs default_hooks.visualization in the config")
    hook.update(draw=True, test_out_dir=str(folder))


if __name__ == "__main__":
    main()
