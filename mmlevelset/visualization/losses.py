"""Curves of training runs, from the logs that mmengine writes."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from mmlevelset.logs import Log, read_log

Records = tuple[list[dict], list[dict]]
"""The records of a run, of training and of validation."""
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
        logs: The logs of a run, as in :func:`read_log`: all its losses are drawn. Or a mapping from
            names to the logs of runs: their total losses are drawn.
        scores: Names of metrics without prefix. Metrics that were not measured are left out. By
            default AP, boundary F1 and mIoU; for several runs ``segm_mAP``, ``AF_1`` and mIoU.
        window: Number of logged steps in the running mean of the losses; by default 1/20 of all.

    Returns:
        The figure, with the method ``savefig``.

    Raises:
        ValueError: As in :func:`read_log`.
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
    runs: Mapping[str, Sequence[Log | Records]],
    names: Sequence[str] = ("loss_ce", "energy_level_set", "mIoU"),
    window: int | None = None,
) -> Figure:
    """Plot logged values over the iterations, a panel for each value, to compare runs.

    The defaults are the curves of Kim et al., CNN-based Semantic Segmentation using Level Set Loss,
    WACV 2019, Fig. 4: cross-entropy, level-set energy and mIoU.

    Args:
        runs: A mapping from names to lists of runs, for instance of several seeds; each run as in
            :func:`read_log`, or as :func:`read_log` returns it. Runs of one name have one colour.
            If there are several, each curve is faint and their mean is strong. The mean ends where
            the first of them ends.
        names: Names of values in the log, without prefix. Values of training records are drawn as
            a running mean. Values of validation by epochs are drawn at the last step that was
            logged in the epoch.
        window: Number of logged steps in the running mean; by default 1/20 of all.

    Returns:
        The figure, with the method ``savefig``.

    Raises:
        ValueError: As in :func:`read_log`; or there is no run or no name; or a name is in no log.
    """
    if not runs or not names or not all(runs.values()):
        raise ValueError("runs, names and the lists of runs must not be empty")
    figure = Figure(figsize=(4.4 * len(names), 3.6), dpi=110, layout="constrained")
    panels = figure.subplots(1, len(names), squeeze=False)[0]
    logs = {
        run: [log if isinstance(log, tuple) else read_log(log) for log in seeds]
        for run, seeds in runs.items()
    }
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
    # A run may lack a value that other runs have, for instance the energy without a monitor.
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
    """Return the iterations and the values of a curve in a run's log, as floats.

    Args:
        log: Training and validation records, as :func:`read_log` returns them.
        name: Name of the value, without ``coco/``, in the training records or else in the
            validation records. Validation by epochs is placed at the last step that was logged in
            the epoch. If no record has the name, the curve is empty.
        window: Number of logged steps in the running mean of training values; by default 1/20 of
            all.
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
    """Return the mean of curves (steps, values) over the range of steps that all of them cover."""
    low, high = max(steps[0] for steps, _ in curves), min(steps[-1] for steps, _ in curves)
    steps = curves[0][0]
    steps = steps[(low <= steps) & (steps <= high)]
    return steps, np.mean([np.interp(steps, *curve) for curve in curves], axis=0)


def _curve(records: list[dict], name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the steps and the values that the records hold under ``name`` or ``coco/name``."""
    points = [
        (record["step"], value)
        for key in (name, f"coco/{name}")
        for record in records
        if isinstance(value := record.get(key), int | float)
    ]
    steps, values = np.reshape(np.array(points, dtype=float), (-1, 2)).T
    return steps, values


def _running_mean(
    steps: np.ndarray, values: np.ndarray, window: int | None
) -> tuple[np.ndarray, np.ndarray]:
    window = min(window or max(1, len(values) // 20), len(values))
    return _means(steps, window), _means(values, window)


def _means(values: np.ndarray, window: int) -> np.ndarray:
    """Return the mean of each run of ``window`` values; the time is linear in their number."""
    if window < 2:
        return values
    # The sums of finite values must not hold values before the window that are not finite.
    finite = np.isfinite(values)
    sums = np.cumsum(np.concatenate([[0.0], np.where(finite, values, 0.0)]))
    missing = np.cumsum(np.concatenate([[0], ~finite]))
    means = (sums[window:] - sums[:-window]) / window
    return np.where(missing[window:] > missing[:-window], np.nan, means)
