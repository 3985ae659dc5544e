"""Print a table of the last evaluation of several runs.

    python tools/results_table.py work_dirs/shapes/*
    python tools/results_table.py work_dirs/voc/* --metrics segm_mAP segm_mAP_25 segm_mAP_50

By default box and mask AP and boundary F1 of instances, or mIoU and boundary F1 of semantic maps.
Runs in folders named <variant>_seed<number> are one row: mean and sample standard deviation.
"""

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from mmlevelset.errors import InputError, exit_on_input_error
from mmlevelset.experiments.runs import RunRecord, by_variant, read_runs
from mmlevelset.experiments.scores import mean_and_deviation

METRICS = (
    "bbox_mAP",
    "segm_mAP",
    "AF_1",
    "AF_2",
    "initial_segm_mAP",
    "initial_AF_1",
    "initial_AF_2",
    "mIoU",
    "FM",
    "BF_1",
    "BF_2",
)
SEMANTIC = "mIoU"


def table(runs: Sequence[RunRecord], metrics: Sequence[str] | None = None) -> str:
    """Return a Markdown table in percent, a row for each variant.

    Args:
        runs: runs with scores.
        metrics: the columns; None takes the :data:`METRICS` that a run has, the boundary F1
            ``BF_*`` for semantic maps only.

    Raises:
        InputError: no run has one of ``metrics``.
    """
    present = {name for run in runs for name in run.scores}
    if metrics is None:
        metrics = [name for name in METRICS if name in present]
        if SEMANTIC not in present:
            metrics = [name for name in metrics if not name.startswith("BF_")]
        if not metrics:
            raise InputError(f"name --metrics; there are {', '.join(sorted(present))}")
    columns = list(metrics)
    unknown = [name for name in columns if name not in present]
    if unknown:
        measured = sorted(name for name in present if re.search("mAP|F_|^m[A-Z]|^aAcc", name))
        raise InputError(f"no run has {', '.join(unknown)}; there are {', '.join(measured)}")
    lines = [
        " | ".join(["| variant", "runs", *columns]) + " |",
        "|---" * (len(columns) + 2) + "|",
    ]
    for variant, seeds in by_variant(runs).items():
        cells = [
            mean_and_deviation([run.scores[name] for run in seeds if name in run.scores], digits=1)
            for name in columns
        ]
        lines.append(" | ".join([f"| {variant}", str(len(seeds)), *cells]) + " |")
    return "\n".join(lines)


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("work_dirs", nargs="+", type=Path, help="of the runs; files are ignored")
    parser.add_argument("--metrics", nargs="+", help="columns, without 'coco/'")
    arguments = parser.parse_args(words)
    with exit_on_input_error("results_table.py"):
        runs, left_out = read_runs(arguments.work_dirs)
        evaluated = [run for run in runs if run.scores]
        left_out += [f"{run.work_dir} holds no evaluation" for run in runs if not run.scores]
        if not evaluated:
            raise InputError("; ".join(left_out))
        for line in left_out:
            print(f"left out: {line}", file=sys.stderr)
        print(table(evaluated, arguments.metrics))
