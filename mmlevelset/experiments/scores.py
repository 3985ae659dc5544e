"""Scores as tables show them: in percent, as mean and deviation over seeds."""

import math
import statistics
from collections.abc import Sequence

FRACTIONS = ("coco/", "lvis/", "cityscapes/")
"""Metrics with these prefixes are logged as fractions of 1, all others as they are shown."""


def as_shown(key: str, value: float) -> float:
    """Return a logged metric in percent if it is a fraction, else as it is.

    A fraction of -1 becomes NaN: COCO found no object to measure.
    """
    if not key.startswith(FRACTIONS):
        return value
    return 100 * value if value >= 0 else math.nan


def mean_and_deviation(values: Sequence[float], digits: int | None = None) -> str:
    """Return "mean ± sample standard deviation", the mean alone of one value, "" of none.

    Args:
        values: a value for each seed.
        digits: digits after the point; None takes 1, or 3 for a mean below 1.
    """
    if not values:
        return ""
    mean = statistics.mean(values)
    if digits is None:
        digits = 1 if abs(mean) >= 1 else 3
    if len(values) == 1:
        return f"{mean:.{digits}f}"
    return f"{mean:.{digits}f} ± {statistics.stdev(values):.{digits}f}"
