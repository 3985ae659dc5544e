"""The classic solvers as baselines: their settings, the tuning, and the side of the object."""

import inspect
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from mmlevelset.evaluation.f_measure import f_measure
from mmlevelset.ops import (
    chan_vese,
    drlse,
    legendre_level_set,
    region_scalable_fitting,
    signed_distance,
)

BATCH = 16
"""At most this many images of one size are solved together. Results do not depend on it."""

IGNORED = 255


@dataclass(frozen=True)
class ClassicSolver:
    """A solver with its settings.

    Attributes:
        title: The solver's name in tables and pictures.
        function: The solver in :mod:`mmlevelset.ops`.
        defaults: Settings that differ from the function's defaults, and ``start``.
        grid: The values of settings; :func:`tune` tries all combinations.
    """

    title: str
    function: Callable[..., Any]
    defaults: Mapping[str, Any]
    grid: Mapping[str, Sequence[Any]]

    @property
    def settings(self) -> dict[str, Any]:
        """Return all settings by name, with their defaults."""
        parameters = inspect.signature(self.function).parameters.values()
        left_out = ("image", "extended_output", "init_level_set")
        own = {each.name: each.default for each in parameters if each.name not in left_out}
        return {"start": "box", **own, **self.defaults}


_NU = tuple(factor * 255.0**2 for factor in (0.001, 0.01, 0.1))
_STARTS = ("box", "disk", "checkerboard")
# The contours must come to rest. From a start that is a distance, Chan-Vese with its default tol
# would stop after a few iterations.
SOLVERS: dict[str, ClassicSolver] = {
    "chan_vese": ClassicSolver(
        "Chan-Vese",
        chan_vese,
        dict(tol=1e-4, max_num_iter=2000),
        dict(start=_STARTS, mu=(0.1, 0.25, 0.5, 1.0)),
    ),
    # DRLSE moves in one direction, so its start must contain the object: no other start is tried.
    "drlse": ClassicSolver(
        "DRLSE",
        drlse,
        dict(max_num_iter=2000),
        dict(alpha=(1.5, 3.0, 5.0), lambda_=(5.0, 10.0), sigma=(0.8, 1.5)),
    ),
    "region_scalable_fitting": ClassicSolver(
        "RSF",
        region_scalable_fitting,
        dict(max_num_iter=1000),
        dict(start=_STARTS, nu=_NU, sigma=(3.0, 10.0)),
    ),
    "legendre_level_set": ClassicSolver(
        "L2S",
        legendre_level_set,
        dict(max_num_iter=1000),
        dict(start=_STARTS, nu=_NU, order=(1, 2)),
    ),
}


@dataclass
class Solution:
    """A solver's result for an image.

    Attributes:
        mask: (H, W) bool, the inside of the contour.
        iterations: The number of iterations.
    """

    mask: np.ndarray
    iterations: int


@dataclass
class Tuning:
    """The settings that :func:`tune` tried, in the grid's order, with mean F-measures in [0, 1]."""

    tried: list[tuple[dict[str, Any], float]] = field(default_factory=list)

    @property
    def best(self) -> tuple[dict[str, Any], float]:
        """Return the best settings and their F-measure. Of equal settings the first are best."""
        return max(self.tried, key=lambda pair: pair[1])


def check_settings(name: str, settings: Mapping[str, Any]) -> None:
    """Raise ValueError unless the solver has these settings and accepts their values."""
    if name not in SOLVERS:
        raise ValueError(f"unknown solver {name!r}; there are {', '.join(SOLVERS)}")
    known = SOLVERS[name].settings
    for key in settings:
        if key not in known:
            raise ValueError(f"{name} has no setting {key!r}; it has {', '.join(known)}")
    complete = known | dict(settings)
    if isinstance(complete["max_num_iter"], int):
        complete["max_num_iter"] = min(complete["max_num_iter"], 1)
    try:
        run(name, np.zeros((16, 16), np.float32), complete)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name}: {str(error).replace('init_level_set', 'start')}") from error


def run(name: str, image: np.ndarray, settings: Mapping[str, Any], extended: bool = False) -> Any:
    """Return the solver's own result for an image (H, W), (C, H, W) or a batch (B, C, H, W).

    All solvers accept the names of starts that :func:`mmlevelset.ops.drlse` has. ``box`` differs:
    on each side it leaves a margin of a sixteenth of the image's shorter side, 4 pixels of 64.

    Args:
        name: Key of :data:`SOLVERS`.
        image: float32.
        settings: Arguments of the function; ``start`` is its ``init_level_set``.
        extended: The function's ``extended_output``.
    """
    options = dict(settings)
    start = options.pop("start")
    if isinstance(start, str) and start == "box":
        start = _box(*image.shape[-2:])
        if name == "chan_vese":
            # chan_vese's own starts have their largest |phi| at 1, and no step at the contour.
            phi = signed_distance(torch.from_numpy(start)[None])[0].numpy()
            start = phi / np.abs(phi).max()
    function = SOLVERS[name].function
    return function(image, init_level_set=start, extended_output=extended, **options)


def solve(
    name: str,
    images: Sequence[np.ndarray],
    settings: Mapping[str, Any],
    progress: Callable[[int], object] = lambda count: None,
) -> list[Solution]:
    """Solve many images. Images of one size are solved together.

    Args:
        name: Key of :data:`SOLVERS`.
        images: Each (H, W) or (C, H, W), float32, of any size.
        settings: All settings, as in :attr:`ClassicSolver.settings`.
        progress: Called with the number of images that a step has solved.
    """
    found: dict[int, Solution] = {}
    for numbers in _batches(images):
        batch = np.stack([images[number] for number in numbers])
        batch = batch.reshape(len(batch), -1, *batch.shape[-2:])
        masks, _, energies = run(name, batch, settings, extended=True)
        for number, mask, of_image in zip(numbers, masks, energies, strict=True):
            found[number] = Solution(mask, len(of_image))
        progress(len(numbers))
    return [found[number] for number in range(len(images))]


def choose_side(mask: np.ndarray, truths: np.ndarray, side: str) -> np.ndarray:
    """Return the side of a contour that counts as the object, since a solver does not know it.

    Args:
        mask: (H, W) bool, the inside of the contour.
        truths: (A, H, W), of A annotators: 0 background, 1 object, 255 no label.
        side: ``truth``: the side with the larger F-measure, a mean over the annotators. No rule
            that does not know the truth reaches a larger F-measure. ``centre``: the side with the
            image's middle pixel.

    Raises:
        ValueError: ``side`` is neither word.
    """
    if side == "centre":
        height, width = mask.shape
        return mask if mask[height // 2, width // 2] else ~mask
    if side != "truth":
        raise ValueError(f"side must be 'truth' or 'centre', not {side!r}")
    return max(mask, ~mask, key=lambda chosen: score(chosen, truths).mean())


def score(mask: np.ndarray, truths: np.ndarray) -> np.ndarray:
    """Return the F-measures (A,) in [0, 1] of a mask (H, W) against truths (A, H, W)."""
    return np.array([f_measure(mask, truth == 1, truth != IGNORED) for truth in truths])


def tune(
    name: str,
    images: Sequence[np.ndarray],
    truths: Sequence[np.ndarray],
    fixed: Mapping[str, Any],
    side: str = "truth",
    progress: Callable[[int], object] = lambda count: None,
) -> Tuning:
    """Try all combinations of a solver's grid on training images.

    Args:
        name: Key of :data:`SOLVERS`.
        images, progress: As in :func:`solve`.
        truths: The truths (A, H, W) of each image.
        fixed: Settings that are kept. The grid's values for them are not tried.
        side: As in :func:`choose_side`.
    """
    tuning = Tuning()
    for settings in grid_of(name, fixed):
        found = solve(name, images, settings, progress)
        values = [
            score(choose_side(solution.mask, truth, side), truth).mean()
            for solution, truth in zip(found, truths, strict=True)
        ]
        tuning.tried.append((settings, float(np.mean(values))))
    return tuning


def grid_of(name: str, fixed: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return all combinations of settings that :func:`tune` tries, each with all settings."""
    solver = SOLVERS[name]
    free = {key: values for key, values in solver.grid.items() if key not in fixed}
    return [
        solver.settings | dict(fixed) | dict(zip(free, values, strict=True))
        for values in itertools.product(*free.values())
    ]


def _batches(images: Sequence[np.ndarray]) -> Iterator[list[int]]:
    """Yield the indices of images of one shape, at most ``BATCH`` at a time."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for number, image in enumerate(images):
        groups.setdefault(image.shape, []).append(number)
    for group in groups.values():
        for first in range(0, len(group), BATCH):
            yield group[first : first + BATCH]


def _box(height: int, width: int) -> np.ndarray:
    margin = max(1, round(min(height, width) / 16))
    mask = np.zeros((height, width), dtype=bool)
    mask[margin:-margin, margin:-margin] = True
    return mask
