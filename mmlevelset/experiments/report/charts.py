"""The charts of a report: curves as points of an SVG."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from matplotlib.ticker import LogLocator, MaxNLocator

from mmlevelset.experiments.report.tables import label
from mmlevelset.experiments.runs import RunRecord
from mmlevelset.experiments.scores import as_shown
from mmlevelset.visualization import curve_over_steps, mean_curve

# Okabe and Ito's colours: colour-blind readers tell them apart. Their yellow is too light for a
# line on white. From the eighth variant on, the colours are repeated with dashes.
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#000000", "#56b4e9", "#e69f00")
DASHES = ("", "6 3", "2 3", "9 3 2 3")
WIDTH, HEIGHT = 440, 270
LEFT, RIGHT, TOP, BOTTOM = 52, WIDTH - 10, 8, HEIGHT - 34
"""The area of the curves in a chart, in pixels."""
FRAME = dict(width=WIDTH, height=HEIGHT, left=LEFT, right=RIGHT, top=TOP, bottom=BOTTOM)
MOST_POINTS = 250
LOG_RATIO = 20
"""An axis is logarithmic if the greatest value divided by the 0.2 quantile is above this.

This holds for a loss that falls fast or a learning rate that falls in steps. It does not hold for a
schedule that is near 0 only at its end.
"""
NAMES = {"loss": "total loss", "lr": "learning rate"}
EVOLUTION = re.compile(r"(lambda[12]|mu|alpha|beta|gamma|(eps|dt|moved)_\d+|(data_scale|term)_\w+)")
"""Names of the values that level-set heads log of their evolution."""


@dataclass
class Line:
    """A curve; ``points`` are pixels of the chart, as SVG takes them."""

    variant: str
    number: int
    faint: bool
    points: str
    dots: list[tuple[str, str]]
    ends: tuple[float, float]


@dataclass
class Chart:
    """A chart; a tick is (pixel, text)."""

    title: str
    x_range: tuple[float, float]
    y_range: tuple[float, float]
    log: bool
    x_ticks: list[tuple[float, str]] = field(default_factory=list)
    y_ticks: list[tuple[float, str]] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)

    @property
    def description(self) -> str:
        """The chart in words."""
        ends = [
            f"{line.variant} from {line.ends[0]:.3g} to {line.ends[1]:.3g}"
            for line in self.lines
            if not line.faint
        ]
        return f"{self.title} over the iterations: {'; '.join(ends)}"


def style(number: int) -> tuple[str, str]:
    """Return the colour and the dashes of a variant."""
    return COLORS[number % len(COLORS)], DASHES[number // len(COLORS) % len(DASHES)]


def make_charts(
    variants: Mapping[str, Sequence[RunRecord]], scores: Sequence[str], window: int | None
) -> dict[str, list[Chart]]:
    """Return charts: of total loss and learning rate, of scores, and of other logged values."""
    names, evolution = set(), set()
    for seeds in variants.values():
        for run in seeds:
            keys = {key for record in run.training for key in record}
            parts = {key for key in keys if "loss" in key and key != "loss"}
            names |= {key for key in keys if key.startswith(("energy", "iou"))}
            evolution |= {key for key in keys if EVOLUTION.fullmatch(key)}
            # A single part equals the total loss.
            names |= parts if len(parts) > 1 else set()
    groups = {
        "Loss and learning rate": ["loss", "lr"],
        "Scores on the validation set, percent": list(scores),
        "Parts of the loss, and other logged values": sorted(names),
        "The evolution: settings, movement in truncation ranges, sizes of its terms": sorted(
            evolution
        ),
    }
    made = {
        title: [chart for name in names if (chart := _chart(variants, name, window))]
        for title, names in groups.items()
    }
    return {title: charts for title, charts in made.items() if charts}


def _chart(
    variants: Mapping[str, Sequence[RunRecord]], name: str, window: int | None
) -> Chart | None:
    curves = {}
    for number, (variant, seeds) in enumerate(variants.items()):
        known = [curve for run in seeds if len((curve := _curve(run, name, window))[0])]
        if known:
            seeds_alone = [(True, curve) for curve in known] if len(known) > 1 else []
            mean = mean_curve(known)
            curves[variant, number] = [*seeds_alone, *([(False, mean)] if len(mean[0]) else [])]
    drawn = [curve for lines in curves.values() for _, curve in lines]
    if not drawn:
        return None
    x = np.concatenate([steps for steps, _ in drawn])
    y = np.concatenate([values for _, values in drawn])
    is_score = any(name in run.scores for seeds in variants.values() for run in seeds)
    if is_score and all(len(steps) < 2 for steps, _ in drawn):
        return None  # one evaluation at the end: the table has it
    log = bool(not is_score and y.min() > 0 and y.max() > LOG_RATIO * np.quantile(y, 0.2))
    made = Chart(NAMES.get(name, label(name).replace("_", " ")), _range(x), _range(y, log), log)
    made.x_ticks = [
        (round(px, 1), _count(value)) for value, px in _ticks(made.x_range, LEFT, RIGHT, False)
    ]
    made.y_ticks = [
        (round(px, 1), _value(value)) for value, px in _ticks(made.y_range, BOTTOM, TOP, log)
    ]
    for (variant, number), lines in curves.items():
        for faint, (steps, values) in lines:
            kept = np.unique(np.linspace(0, len(steps) - 1, MOST_POINTS).round().astype(int))
            px = _place(steps[kept], made.x_range, LEFT, RIGHT, False)
            py = _place(values[kept], made.y_range, BOTTOM, TOP, log)
            points = [(f"{x:.1f}", f"{y:.1f}") for x, y in zip(px, py, strict=True)]
            dots = points if (is_score and not faint) or len(points) == 1 else []
            ends = (float(values[0]), float(values[-1]))
            text = " ".join(",".join(point) for point in points)
            made.lines.append(Line(variant, number, faint, text, dots, ends))
    made.lines.sort(key=lambda line: not line.faint)
    return made


def _curve(run: RunRecord, name: str, window: int | None) -> tuple[np.ndarray, np.ndarray]:
    if not run.training:
        return np.empty(0), np.empty(0)
    steps, values = curve_over_steps(
        (run.training, run.validation), name, 1 if name == "lr" else window
    )
    if name in run.scores:
        logged = {key for record in run.validation for key in record}
        key = f"coco/{name}" if f"coco/{name}" in logged else name
        values = np.array([as_shown(key, value) for value in values])
    known = np.isfinite(values)
    return steps[known], values[known]


def _range(values: np.ndarray, log: bool = False) -> tuple[float, float]:
    low, high = float(values.min()), float(values.max())
    if log:
        return low / 1.1, high * 1.1
    margin = 0.04 * (high - low) or 0.05 * abs(high) or 1.0
    return low - margin, high + margin


def _place(
    values: np.ndarray, limits: tuple[float, float], start: float, end: float, log: bool
) -> np.ndarray:
    low, high = limits
    if log:
        values, low, high = np.log(values), float(np.log(low)), float(np.log(high))
    return start + (values - low) / (high - low) * (end - start)


def _ticks(
    limits: tuple[float, float], start: float, end: float, log: bool
) -> list[tuple[float, float]]:
    low, high = limits
    if log:
        subs = (1.0, 2.0, 5.0) if high / low < 100 else (1.0,)
        found = LogLocator(subs=subs).tick_values(low, high)
    else:
        found = MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)
    values = np.array([value for value in found if low <= value <= high])
    return list(zip(values.tolist(), _place(values, limits, start, end, log), strict=True))


def _count(value: float) -> str:
    return f"{value / 1000:g}k" if abs(value) >= 10000 else f"{value:g}"


def _value(value: float) -> str:
    """Return a number, short also for a small learning rate: 5e-4."""
    if value == 0 or abs(value) >= 0.01:
        return f"{value:g}"
    digits, exponent = f"{value:.6e}".split("e")
    return f"{float(digits):g}e{int(exponent)}"
