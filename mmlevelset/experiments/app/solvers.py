"""The classic solvers of the page, their settings, and their steps."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from mmlevelset.errors import InputError
from mmlevelset.ops import chan_vese, drlse, legendre_level_set, region_scalable_fitting

FRAMES = 40
"""The most steps of an evolution that are kept, beside its start."""


class Setting(NamedTuple):
    """A number that a slider moves.

    Attributes:
        argument: The argument of the solver.
        label: The text beside the slider.
        low: The smallest value.
        high: The largest value.
        step: The distance of two values.
        default: The value at the start.
    """

    argument: str
    label: str
    low: float
    high: float
    step: float
    default: float


class Solver(NamedTuple):
    """A classic solver.

    Attributes:
        function: The function of :mod:`mmlevelset.ops`.
        settings: Its sliders, without the number of iterations.
        starts: The names of its initial contours, the default first.
        advice: A sentence on what it fits.
    """

    function: Callable[..., Any]
    settings: tuple[Setting, ...]
    starts: tuple[str, ...]
    advice: str


ITERATIONS = Setting("max_num_iter", "iterations N", 1, 1000, 1, 200)
LAMBDA1 = Setting("lambda1", "λ₁, weight of the inside", 0, 5, 0.05, 1)
LAMBDA2 = Setting("lambda2", "λ₂, weight of the outside", 0, 5, 0.05, 1)
LENGTH = Setting("nu", "ν, weight of the length", 0, 1000, 1, 65)
DISTANCE = Setting("mu", "μ, weight of the distance term", 0, 2.4, 0.05, 1)

SOLVERS = {
    "Chan-Vese": Solver(
        chan_vese,
        (Setting("mu", "μ, weight of the length", 0, 2, 0.01, 0.25), LAMBDA1, LAMBDA2),
        ("checkerboard", "disk", "small disk"),
        "Two constants: for an object that differs from the ground in brightness or colour.",
    ),
    "DRLSE": Solver(
        drlse,
        (
            Setting("lambda_", "λ, weight of the length along edges", 0, 20, 0.5, 5),
            Setting("mu", "μ, weight of the distance term", 0, 0.049, 0.001, 0.04),
            Setting("alpha", "α, weight of the area: positive shrinks", -5, 5, 0.1, 1.5),
            Setting("sigma", "σ of the Gaussian, in pixels", 0.5, 5, 0.1, 1.5),
        ),
        ("box", "disk", "small disk", "checkerboard"),
        "Edges: for a sharp outline. The contour moves in one direction, so start around the"
        " object, or in it with a negative α.",
    ),
    "Region-scalable fitting": Solver(
        region_scalable_fitting,
        (
            LAMBDA1,
            LAMBDA2,
            LENGTH,
            DISTANCE,
            Setting("sigma", "σ of the window, in pixels", 1, 20, 0.5, 3),
        ),
        ("small disk", "disk", "box", "checkerboard"),
        "Local means: for uneven light and thin objects. The start matters.",
    ),
    "L2S": Solver(
        legendre_level_set,
        (
            Setting("order", "order of the polynomials", 0, 4, 1, 1),
            LENGTH,
            DISTANCE,
            LAMBDA1._replace(label="λ₁, ridge weight of the inside", low=0.05),
            LAMBDA2._replace(label="λ₂, ridge weight of the outside", low=0.05),
        ),
        ("disk", "small disk", "box", "checkerboard"),
        "A polynomial in each region: for light that changes smoothly.",
    ),
}


class Step(NamedTuple):
    """The level set after some iterations.

    Attributes:
        iteration: The number of iterations.
        phi: (H, W) float32, positive inside.
    """

    iteration: int
    phi: np.ndarray


def check_settings(name: str, values: Mapping[str, float], start: str) -> dict[str, float]:
    """Return the arguments of a solver, which all lie in the ranges of their sliders.

    Raises:
        InputError: The solver or the start is unknown, or a value is missing, no number, or out of
            its range. The message is a sentence for the page.
    """
    if name not in SOLVERS:
        raise InputError(f"The solver must be one of {', '.join(SOLVERS)}, and was {name!r:.50}.")
    solver = SOLVERS[name]
    if start not in solver.starts:
        raise InputError(f"The start must be one of {', '.join(solver.starts)}, not {start!r:.50}.")
    checked = {}
    for setting in (*solver.settings, ITERATIONS):
        value = values.get(setting.argument)
        valid = isinstance(value, int | float) and setting.low <= value <= setting.high
        if value is None or not valid:
            raise InputError(
                f"{setting.label} must be a number from {setting.low:g} to {setting.high:g}, and"
                f" was {value!r:.50}."
            )
        checked[setting.argument] = int(value) if setting.step == 1 else float(value)
    return checked


def evolve(name: str, image: np.ndarray, values: Mapping[str, float], start: str) -> Iterator[Step]:
    """Yield the start of a solver, at most :data:`FRAMES` steps between, and its result.

    The result is that of one call of the solver: the first call finds the number of iterations,
    and the steps between are computed again. A solver that goes on from a level set as it was does
    what it did in one run.

    Args:
        name: A key of :data:`SOLVERS`.
        image: (H, W, 3) uint8, RGB.
        values: The value of each setting and of :data:`ITERATIONS` by its argument.
        start: The name of the initial contour.

    Raises:
        InputError: As :func:`check_settings`; or the image is too small for the start.
    """
    arguments = check_settings(name, values, start)
    solve = SOLVERS[name].function
    fixed: dict[str, Any] = dict(extended_output=True, channel_axis=-1)
    limit = int(arguments.pop("max_num_iter"))
    scaled = image.astype(np.float32)

    def run(phi: str | np.ndarray, most: int, **changes: float) -> tuple[np.ndarray, int]:
        given = arguments | fixed | changes
        try:
            _, found, energies = solve(scaled, init_level_set=phi, max_num_iter=most, **given)
        except ValueError as error:
            raise InputError(f"The solver refuses the image: {error}.") from error
        return found, len(energies)

    phi, _ = run(start, 0)
    yield Step(0, phi)
    last, count = run(start, limit)
    done = 0
    for wanted in frame_steps(count)[1:-1]:
        phi, _ = run(phi, wanted - done, tol=0)
        done = wanted
        yield Step(done, phi)
    if count:
        yield Step(count, last)


def frame_steps(count: int) -> list[int]:
    """Return the iterations that are shown of ``count``: 0, the first ones, then ever fewer.

    Contours move most at the start. The numbers grow as squares do. The last is ``count``.
    """
    frames = min(count, FRAMES)
    if not frames:
        return [0]
    return sorted({max(k, round(count * (k / frames) ** 2)) for k in range(frames + 1)})
