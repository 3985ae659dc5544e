"""Curves of a training run from the log that mmengine writes."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from mmlevelset.logs import Log, read_log

CURVES = {
    "loss_ce": "cross-entropy",
    "energy_level_set": "level-set energy",
    "mIoU": "mIoU (%)",
    "BF_1": "boundary F1, 1 px (%)",
    "BF_2": "boundary F1, 2 px (%)",
}
SCORES = {
    "bbox_mAP": "box AP",
    "segm_mAP": "mask AP",
    "initial_segm_mAP": "mask AP, initial",
    "AF_1": "boundary F1, 1 px",
    "AF_2": "boundary F1, 2 px",
    "mIoU": "mIoU (%)",
}


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
            default AP, boundary F1 and mIoU, of several runs only ``segm_mAP``, ``AF_1`` and mIoU.
        window: number of logged steps in the running mean of the losses; 1/20 of them if None.

    Returns:
        The figure; save it by its ``savefig``.

    Raises:
        ValueError: see :func:`read_log`.
    """
    several = isinstance(logs, Mapping)
    runs = dict(logs) if isinstance(logs, Mapping) else {"": logs}
    if scores is None:
        scores = ("segm_mAP", "AF_1", "mIoU") if several else tuple(SCORES)
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


def plot_curves(
    runs: Mapping[str, Sequence[Log]],
    names: Sequence[str] = ("loss_ce", "energy_level_set", "mIoU"),
    window: int | None = None,
) -> Figure:
    """Plot logged values over the iterations, one panel each, to compare runs.

    By default what Kim et al., CNN-based Semantic Segmentation using Level Set Loss, WACV 2019,
    show in Fig. 4: cross-entropy, level-set energy and mIoU, with and without the level-set loss.

    Args:
        runs: name -> the runs under this name, as of several seeds, each as in :func:`read_log`.
            They have one colour; of several each is faint and their mean, as far as all of
            them go, is strong.
        names: what to plot, without prefix, of the training's records (as a running mean) or the
            validation's. Validation by epochs is placed at the last step logged of its epoch.
        window: number of logged steps in the running mean of training values; 1/20 of them if
            None.

    Returns:
        The figure; save it by its ``savefig``.

    Raises:
        ValueError: see :func:`read_log`; or there is no run or name to plot, or no run has a value
            of one of the names.
    """
    if not runs or not names or not all(runs.values()):
        raise ValueError("runs and names must not be empty, nor a list of runs in them")
    figure = Figure(figsize=(4.4 * len(names), 3.6), dpi=110, layout="constrained")
    panels = figure.subplots(1, len(names), squeeze=False)[0]
    logs = {run: [read_log(paths) for paths in seeds] for run, seeds in runs.items()}
    for axes, name in zip(panels, names, strict=True):
        for number, (run, seeds) in enumerate(logs.items()):
            curves = [
                curve for log in seeds if len((curve := curve_over_steps(log, name, window))[0])
            ]
            style = dict(color=f"C{number}", marker="o" if _is_sparse(curves) else None)
            for steps, values in curves if len(curves) > 1 else ():
                axes.plot(steps, values, alpha=0.25, linewidth=0.8, color=f"C{number}")
            if curves:
                axes.plot(*mean_curve(curves), label=run, linewidth=1.5, markersize=3.5, **style)
        if not axes.lines:
            raise ValueError(f"no run has a value of {name!r} in its log")
        axes.set(xlabel="iteration", title=CURVES.get(name, name.replace("_", " ")))
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    # A run may lack what others have, as the energy without a monitor.
    labelled = {line.get_label(): line for axes in panels for line in axes.lines}
    chosen = [run for run in runs if run in labelled]
    figure.legend(
        [labelled[run] for run in chosen],
        chosen,
        loc="outside lower center",
        ncols=4,
        frameon=False,
        fontsize=9,
    )
    return figure


def curve_over_steps(
    log: tuple[list[dict], list[dict]], name: str, window: int | None
) -> tuple[np.ndarray, np.ndarray]:
    """One run's curve of what its log calls ``name``: iterations and values, as floats.

    Args:
        log: what :func:`read_log` gives.
        name: without ``coco/``; of the training's records, or else of the validation's, which are
            placed at the last step logged of their epoch. Empty where there is none.
        window: number of logged steps in the running mean of training values; 1/20 of them if
            None.
    """
    training, validation = log
    steps, values = _curve(training, name)
    if len(steps):
        return _running_mean(steps, values, window)
    steps, values = _curve(validation, name)
    if all("epoch" in record for record in training):
        last = {record["epoch"]: record["step"] for record in training}
        known = np.array([epoch in last for epoch in steps], dtype=bool)
        steps = np.array([last[epoch] for epoch in steps[known]], dtype=float)
        values = values[known]
    return steps, values


def _is_sparse(curves: list[tuple[np.ndarray, np.ndarray]]) -> bool:
    return bool(curves) and max(len(steps) for steps, _ in curves) <= 30


def mean_curve(curves: list[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    """The mean of curves (steps, values) where all of them are, at the first one's steps."""
    low, high = max(steps[0] for steps, _ in curves), min(steps[-1] for steps, _ in curves)
    steps = curves[0][0]
    steps = steps[(low <= steps) & (steps <= high)]
    return steps, np.mean([np.interp(steps, *curve) for curve in curves], axis=0)


def _curve(records: list[dict], name: str) -> tuple[np.ndarray, np.ndarray]:
    """Steps and values of what the records call ``name`` or ``coco/name``."""
    points = [
        (record["step"], value)
        for record in records
        for key, value in record.items()
        if key in (name, f"coco/{name}")
    ]
    steps, values = np.reshape(np.array(points, dtype=float), (-1, 2)).T
    return steps, values


def _running_mean(
    steps: np.ndarray, values: np.ndarray, window: int | None
) -> tuple[np.ndarray, np.ndarray]:
    window = min(window or max(1, len(values) // 20), len(values))
    kernel = np.full(window, 1 / window)
    return np.convolve(steps, kernel, "valid"), np.convolve(values, kernel, "valid")
