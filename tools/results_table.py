"""Table of the last evaluation of several runs: mean and spread over seeds.

    python tools/results_table.py work_dirs/shapes/*
    python tools/results_table.py work_dirs/voc/* --metrics segm_mAP segm_mAP_25 segm_mAP_50

Box and mask AP and boundary F1 of instances, or mIoU and boundary F1 of semantic maps.

Runs in folders named <variant>_seed<number> are one row; any other folder is a row of its own.
"""

import argparse
import math
import re
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path

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
FRACTIONS = ("coco/", "lvis/", "cityscapes/")
"""Metrics with these prefixes are logged as fractions of 1, all others as they are shown."""
SEMANTIC = "mIoU"
NO_SCORES = {"step", "time", "data_time"}


def as_shown(key: str, value: float) -> float:
    """A logged metric in percent, where it is one; NaN for -1, where COCO found no such object."""
    if not key.startswith(FRACTIONS):
        return value
    return 100 * value if value >= 0 else math.nan


def last_evaluation(work_dir: Path) -> dict[str, float]:
    """The metrics of the newest evaluation logged in a work dir, in percent, without ``coco/``.

    NaN stands where there was nothing to measure.

    Raises:
        FileNotFoundError: No log in the folder holds an evaluation.
        ValueError: a log is broken.
    """
    from mmlevelset.logs import log_files, read_records

    for log in reversed(log_files(work_dir)):
        evaluations = [
            record
            for record in read_records(log)
            if "loss" not in record and record.keys() - NO_SCORES
        ]
        if evaluations:
            return {
                name.removeprefix("coco/"): as_shown(name, value)
                for name, value in evaluations[-1].items()
            }
    raise FileNotFoundError(f"{work_dir} holds no log of an evaluation (*/vis_data/scalars.json)")


def table(work_dirs: Sequence[Path], metrics: Sequence[str] | None = None) -> str:
    """A Markdown table, one row a variant: percent, mean ± sample standard deviation over seeds.

    Args:
        work_dirs: of the runs.
        metrics: the columns; None takes those of :data:`METRICS` that a run has, the boundary F1
            ``BF_*`` of semantic maps alone.

    Raises:
        FileNotFoundError: a folder holds no log of an evaluation.
        ValueError: no run has one of ``metrics``.
    """
    variants: dict[str, list[dict[str, float]]] = {}
    for work_dir in work_dirs:
        variant = re.sub(r"_seed\d+$", "", work_dir.name)
        variants.setdefault(variant, []).append(last_evaluation(work_dir))
    present = {name for runs in variants.values() for run in runs for name in run}
    if metrics is None:
        metrics = [name for name in METRICS if name in present]
        if SEMANTIC not in present:
            metrics = [name for name in metrics if not name.startswith("BF_")]
        if not metrics:
            raise ValueError(f"name --metrics; there are {', '.join(sorted(present))}")
    shown = list(metrics)
    unknown = [name for name in shown if name not in present]
    if unknown:
        measured = sorted(name for name in present if re.search("mAP|F_|^m[A-Z]|^aAcc", name))
        raise ValueError(f"no run has {', '.join(unknown)}; there are {', '.join(measured)}")
    lines = [
        " | ".join(["| variant", "runs", *shown]) + " |",
        "|---" * (len(shown) + 2) + "|",
    ]
    for variant, runs in variants.items():
        cells = [_cell([run[name] for run in runs if name in run]) for name in shown]
        lines.append(" | ".join([f"| {variant}", str(len(runs)), *cells]) + " |")
    return "\n".join(lines)


def _cell(values: list[float]) -> str:
    values = [value for value in values if math.isfinite(value)]
    if not values:
        return ""
    mean = f"{statistics.mean(values):.1f}"
    return mean if len(values) == 1 else f"{mean} ± {statistics.stdev(values):.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("work_dirs", nargs="+", type=Path)
    parser.add_argument("--metrics", nargs="+", help="columns, without 'coco/'")
    arguments = parser.parse_args()
    try:
        print(table(arguments.work_dirs, arguments.metrics))
    except (FileNotFoundError, ValueError) as error:
        sys.exit(f"results_table.py: error: {error}")


if __name__ == "__main__":
    main()
