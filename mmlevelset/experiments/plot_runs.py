"""Plot what runs logged over the iterations, several runs in one picture.

    python tools/plot_runs.py work_dirs/shapes/fcn32s* --out fcn32s.png
    python tools/plot_runs.py work_dirs/voc/* --names loss_ce mIoU BF_1 --out voc.png

By default cross-entropy, level-set energy and mIoU. Runs in folders named <variant>_seed<number>
have one colour: each run is faint, their mean is strong.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from mmlevelset.errors import InputError, exit_on_input_error
from mmlevelset.experiments.runs import variant_of
from mmlevelset.logs import log_files


def parse(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("work_dirs", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, required=True, help="the picture: .png, .pdf, .svg")
    parser.add_argument(
        "--names",
        nargs="+",
        default=["loss_ce", "energy_level_set", "mIoU"],
        help="values to plot, as the log names them [loss_ce energy_level_set mIoU]",
    )
    parser.add_argument(
        "--window", type=int, help="logged steps in the running mean of losses [1/20 of them]"
    )
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None) -> None:
    arguments = parse(words)
    with exit_on_input_error("plot_runs.py"):
        runs: dict[str, list[list[Path]]] = {}
        for work_dir in arguments.work_dirs:
            logs = log_files(work_dir)
            if not logs:
                raise InputError(f"{work_dir} holds no log (*/vis_data/scalars.json)")
            runs.setdefault(variant_of(work_dir.name), []).append(logs)
        from mmlevelset.visualization import plot_curves

        try:
            figure = plot_curves(runs, arguments.names, arguments.window)
            arguments.out.parent.mkdir(parents=True, exist_ok=True)
            figure.savefig(arguments.out)
        except ValueError as error:
            raise InputError(str(error)) from error
        print(f"wrote {arguments.out}")
