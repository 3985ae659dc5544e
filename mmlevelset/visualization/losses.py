"""Curves of a training run from the log that mmengine writes."""

import json
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

Log = str | PathLike | Sequence[str | PathLike]
SCORES = {
    "bbox_mAP": "box AP",
    "segm_mAP": "mask AP",
    "initial_segm_mAP": "mask AP, initial",
    "AF_1": "boundary F1, 1 px",
    "AF_2": "boundary F1, 2 px",
}


def read_log(paths: Log) -> tuple[list[dict], list[dict]]:
    """Read ``vis_data/scalars.json`` of a run, or of the runs that resumed each other.

    Args:
        paths: one file, or several in the order of time. A later one takes over from its first
            step: what earlier ones say about that step and later ones is dropped. A file without
            a training step, as a test run writes it, is left out.

    Returns:
        The records of training, and those of validation, each by step.

    Raises:
        ValueError: a line is not JSON, or no file holds a training step. The last line may be
            cut off, as a killed run leaves it.
    """
    files = [paths] if isinstance(paths, str | PathLike) else list(paths)
    training: list[dict] = []
    validation: list[dict] = []
    for file in files:
        records = _read(Path(file))
        if not any("loss" in record for record in records):
            continue
        for kept, is_training in ((training, True), (validation, False)):
            new = [record for record in records if ("loss" in record) == is_training]
            if new:
                start = min(record["step"] for record in new)
                kept[:] = [record for record in kept if record["step"] < start] + new
    if not training:
        raise ValueError(f"no training step in {', '.join(map(str, files)) or 'no file'}")
    return training, validation


def plot_losses(
    logs: Log | Mapping[str, Log],
    scores: Sequence[str] | None = None,
    window: int | None = None,
) -> Figure:
    """Plot the losses over the iterations and the validation's scores over the epochs.

    Args:
        logs: as in :func:`read_log`, for one run: every loss is drawn. Or name -> that, to compare
            runs by their total loss.
        scores: names of metrics without prefix; those that were not measured are left out. By
            default AP and boundary F1, of several runs only ``segm_mAP`` and ``AF_1``.
        window: number of logged steps in the running mean of the losses; 1/20 of them if None.

    Returns:
        The figure; save it by its ``savefig``.

    Raises:
        ValueError: see :func:`read_log`.
    """
    several = isinstance(logs, Mapping)
    runs = dict(logs) if isinstance(logs, Mapping) else {"": logs}
    if scores is None:
        scores = ("segm_mAP", "AF_1") if several else tuple(SCORES)
    figure = Figure(figsize=(11, 4.6), dpi=110, layout="constrained")
    loss_axes, score_axes = figure.subplots(1, 2)
    unit = "epoch"
    for run, (name, paths) in enumerate(runs.items()):
        training, validation = read_log(paths)
        if any("epoch" not in record for record in training):
            unit = "iteration"
        names = sorted({key for record in training for key in record if "loss" in key})
        for number, key in enumerate(["loss"] if several else names):
            steps, values = _curve(training, key)
            total = key == "loss"
            loss_axes.plot(
                *_running_mean(steps, values, window),
                color="black" if total and not several else f"C{run + number}",
                linewidth=2 if total and not several else 1.3,
                label=name if several else key.replace("_", " "),
            )
        for number, key in enumerate(scores):
            steps, values = _curve(validation, key)
            measured = values >= 0
            if measured.any():
                score_axes.plot(
                    steps[measured],
                    values[measured],
                    ("-", "--", ":", "-.")[number % 4] if several else "-",
                    color=f"C{run if several else number}",
                    marker="o",
                    markersize=3.5,
                    label=f"{name} {SCORES.get(key, key)}".strip(),
                )
    loss_axes.set(xlabel="iteration", ylabel="loss", title="training", yscale="log")
    score_axes.set(xlabel=unit, ylabel="score", title="validation")
    score_axes.set_xlim(left=0)
    score_axes.set_ylim(bottom=0)
    score_axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    for axes in (loss_axes, score_axes):
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
        if axes.lines:
            axes.legend(
                fontsize=8, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.13), ncols=4
            )
    if not score_axes.lines:
        score_axes.text(
            0.5, 0.5, "not validated", ha="center", va="center", transform=score_axes.transAxes
        )
    return figure


def _curve(records: list[dict], name: str) -> tuple[np.ndarray, np.ndarray]:
    """Steps and values of what the records call ``name``, with or without a prefix."""
    points = [
        (record["step"], value)
        for record in records
        for key, value in record.items()
        if key.rpartition("/")[2] == name
    ]
    steps, values = np.reshape(np.array(points, dtype=float), (-1, 2)).T
    return steps, values


def _read(path: Path) -> list[dict]:
    lines = path.read_text().split("\n")
    records = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            records.append(json.loads(line))
        except json.JSONDecodeError as error:
            if number == len(lines):
                break
            raise ValueError(f"{path}, line {number}: not JSON ({error.msg})") from error
    return records


def _running_mean(
    steps: np.ndarray, values: np.ndarray, window: int | None
) -> tuple[np.ndarray, np.ndarray]:
    window = min(window or max(1, len(values) // 20), len(values))
    kernel = np.full(window, 1 / window)
    return np.convolve(steps, kernel, "valid"), np.convolve(values, kernel, "valid")
