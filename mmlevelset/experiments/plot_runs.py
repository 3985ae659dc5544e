"""Plot what runs logged over the iterations, several runs in one picture.

    python tools/plot_runs.py work_dirs/shapes/fcn32s* --out fcn32s.png
    python tools/plot_runs.py work_dirs/voc/* --names loss_ce mIoU BF_1 --out voc.png

By default cross-entropy, level-set energy and mIoU, those that a run has; for runs without them the
total loss, box and mask AP and boundary F1. Runs in folders named <variant>_seed<number> have one
colour: each run is faint, their mean is strong. A run with a broken log is left out.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from mmlevelset.errors import InputError, exit_on_input_error
from mmlevelset.experiments.runs import variant_of
from mmlevelset.files import write_figure
from mmlevelset.logs import log_files, read_log

DEFAULTS = (
    ("loss_ce", "energy_level_set", "mIoU"),
    ("loss", "bbox_mAP", "segm_mAP", "AF_1"),
)
"""Groups of names; the first group of which a run has a name is plotted."""
NO_CURVES = {"step", "iter", "epoch", "time", "data_time", "memory"}


def parse(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("work_dirs", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, required=True, help="the picture: .png, .pdf, .svg")
    parser.add_argument(
        "--names",
        nargs="+",
        help="values to plot, as the log names them [loss_ce energy_level_set mIoU, or"
        " loss bbox_mAP segm_mAP AF_1]",
    )
    parser.add_argument(
        "--window", type=int, help="logged steps in the running mean of losses [1/20 of them]"
    )
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None) -> None:
    arguments = parse(words)
    with exit_on_input_error("plot_runs.py"):
        if arguments.window is not None and arguments.window < 1:
            raise InputError(f"--window must be at least 1, and was {arguments.window}")
        runs: dict[str, list[tuple[list[dict], list[dict]]]] = {}
        left_out = []
        for work_dir in arguments.work_dirs:
            try:
                log = read_log(log_files(work_dir))
            except ValueError as error:
                left_out.append(
                    f"{work_dir}: {error}"
                    if log_files(work_dir)
                    else f"{work_dir} holds no log (*/vis_data/scalars.json)"
                )
                continue
            runs.setdefault(variant_of(work_dir.name), []).append(log)
        if not runs:
            raise InputError("; ".join(left_out))
        for line in left_out:
            print(f"left out: {line}", file=sys.stderr)
        from mmlevelset.visualization import plot_curves

        logs = [log for seeds in runs.values() for log in seeds]
        try:
            figure = plot_curves(runs, choose_names(logs, arguments.names), arguments.window)
            write_figure(arguments.out, figure)
        except ValueError as error:
            raise InputError(str(error)) from error
        print(f"wrote {arguments.out}")


def choose_names(
    logs: Sequence[tuple[list[dict], list[dict]]], asked: Sequence[str] | None
) -> list[str]:
    """Return the names to plot: the names asked for, or else :data:`DEFAULTS` that a run has.

    Raises:
        InputError: no run has one of the names asked for, or none of the defaults.
    """
    present = {
        key.removeprefix("coco/")
        for records in (part for log in logs for part in log)
        for record in records
        for key, value in record.items()
        if isinstance(value, int | float)
    }
    for name in asked or ():
        if name.removeprefix("coco/") not in present:
            there = ", ".join(sorted(present - NO_CURVES))
            raise InputError(f"no run has a value of {name!r} in its log; there are {there}")
    if asked:
        return list(asked)
    chosen = [[name for name in names if name in present] for names in DEFAULTS]
    return next(filter(None, chosen), [])
