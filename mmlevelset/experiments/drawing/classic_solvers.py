"""Pictures of the classic solvers' results on scikit-image's sample images and in uneven light.

The command writes classic_solvers.jpg and classic_solvers_uneven_light.jpg into --out-dir. It also
prints settings, iterations and versions. It needs matplotlib and scikit-image.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from skimage import data

from mmlevelset.experiments.machine import in_words, versions
from mmlevelset.files import write_whole
from mmlevelset.ops import chan_vese, drlse, legendre_level_set, region_scalable_fitting

NAMES: dict[Callable[..., Any], str] = {
    chan_vese: "Chan-Vese",
    drlse: "DRLSE",
    region_scalable_fitting: "region-scalable fitting",
    legendre_level_set: "L2S",
}


@dataclass
class Case:
    """A solver on an image. Generated images have a ``truth``."""

    solver: Callable[..., Any]
    picture: str
    image: np.ndarray
    settings: dict[str, Any]
    start: np.ndarray | str
    truth: np.ndarray | None = None
    phi: np.ndarray = field(init=False)
    iterations: int = field(init=False)

    def solve(self) -> Case:
        _, self.phi, energies = self.run()
        self.iterations = len(energies)
        return self

    def run(self, **changes: Any) -> Any:
        options = dict(extended_output=True, init_level_set=self.start) | self.settings | changes
        return self.solver(self.image.astype(np.float32), **options)

    def first(self) -> np.ndarray:
        return self.run(max_num_iter=0)[1]

    def overlap(self) -> float:
        """Return the IoU with the truth; the better side of the contour counts."""
        assert self.truth is not None
        masks = self.phi > 0, self.phi <= 0
        return max((m & self.truth).sum() / (m | self.truth).sum() for m in masks)

    def describe(self) -> str:
        start = self.start if isinstance(self.start, str) else "as drawn"
        settings = [f"{name}={value:g}" for name, value in self.settings.items()]
        score = [] if self.truth is None else [f"IoU {self.overlap():.3f}"]
        words = [f"start {start}", *settings, f"{self.iterations} iterations", *score]
        return f"{NAMES[self.solver]}, {self.picture}: {', '.join(words)}"


def rectangle(image: np.ndarray, rows: slice, columns: slice) -> np.ndarray:
    mask = np.zeros(image.shape, dtype=bool)
    mask[rows, columns] = True
    return mask


def sample_cases() -> list[list[Case]]:
    """Return a row for each solver, with two of scikit-image's images."""
    camera = data.camera()
    coins = data.coins()
    cell = data.cell()[::3, ::3]
    vessels = data.microaneurysms()
    page = data.page()[52:122, 150:260]
    around = rectangle(coins, slice(6, -3), slice(6, -3))
    vessel = rectangle(vessels, slice(40, 62), slice(20, 80))
    scale = 255.0**2
    return [
        [
            Case(chan_vese, "camera", camera, {}, "checkerboard"),
            Case(chan_vese, "coins", coins, dict(mu=0.1), "checkerboard"),
        ],
        [
            Case(drlse, "coins", coins, dict(max_num_iter=3000), around),
            Case(drlse, "cell", cell, dict(alpha=1.0, sigma=2.0), "box"),
        ],
        [
            Case(
                region_scalable_fitting,
                "microaneurysms",
                vessels,
                dict(sigma=5.0, nu=0.003 * scale),
                vessel,
            ),
            Case(
                region_scalable_fitting,
                "page",
                page,
                dict(sigma=10.0, nu=0.003 * scale),
                "checkerboard",
            ),
        ],
        [
            Case(legendre_level_set, "coins", coins, dict(order=1, nu=0.01 * scale), "disk"),
            Case(legendre_level_set, "page", page, dict(order=1), "checkerboard"),
        ],
    ]


def flower(size: int = 128) -> tuple[np.ndarray, np.ndarray]:
    """Return an image and the true mask of a flower.

    The flower has contrast 1. The light rises by 3 from left to right, the noise is 0.03.
    """
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    inside = np.hypot(y, x) < 36 + 8 * np.cos(5 * np.arctan2(y, x))
    noise = 0.03 * np.random.default_rng(0).standard_normal(inside.shape)
    return inside + 3 * x / size + noise, inside


def uneven_cases() -> list[Case]:
    image, truth = flower()
    return [
        Case(chan_vese, "flower", image, {}, "small disk", truth),
        Case(drlse, "flower", image, dict(sigma=0.8), "box", truth),
        Case(
            region_scalable_fitting,
            "flower",
            image,
            dict(nu=0.003 * 255.0**2),
            "small disk",
            truth,
        ),
        Case(legendre_level_set, "flower", image, {}, "small disk", truth),
    ]


def draw(axes: Axes, image: np.ndarray, phi: np.ndarray, colour: str, title: str) -> None:
    axes.imshow(image, cmap="gray")
    if phi.min() < 0 < phi.max():
        axes.contour(phi, levels=[0.0], colors=colour, linewidths=1.3)
    axes.set_title(title, fontsize=11)
    axes.set_axis_off()


def draw_samples(rows: list[list[Case]], path: Path) -> None:
    figure = Figure(figsize=(13, 11.6), layout="constrained")
    grid = figure.subplots(len(rows), 4)
    for axes, row in zip(grid, rows, strict=True):
        for number, case in enumerate(row):
            name = NAMES[case.solver]
            draw(axes[2 * number], case.image, case.first(), "gold", f"{case.picture}: start")
            title = f"{name}, {case.iterations} iterations"
            draw(axes[2 * number + 1], case.image, case.phi, "red", title)
    save(figure, path)


def draw_uneven(cases: list[Case], path: Path) -> None:
    figure = Figure(figsize=(13, 6.8), layout="constrained")
    axes = figure.subplots(2, 4)
    for (above, below), case in zip(axes.T, cases, strict=True):
        name = NAMES[case.solver]
        draw(above, case.image, case.first(), "gold", f"{name}: start")
        title = f"{case.iterations} iterations, IoU {case.overlap():.3f}"
        draw(below, case.image, case.phi, "red", title)
    save(figure, path)


def save(figure: Figure, path: Path) -> None:
    settings: dict[str, Any] = dict(format=path.suffix[1:], dpi=90, pil_kwargs=dict(quality=85))
    write_whole(path, lambda unfinished: figure.savefig(unfinished, **settings))
    print(f"{path}: {path.stat().st_size // 1000} kB")


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--out-dir",
        default="docs/images",
        metavar="FOLDER",
        help="folder of the pictures [%(default)s]",
    )
    folder = Path(parser.parse_args(words).out_dir)
    folder.mkdir(parents=True, exist_ok=True)
    rows = [[case.solve() for case in row] for row in sample_cases()]
    uneven = [case.solve() for case in uneven_cases()]
    for case in [*(case for row in rows for case in row), *uneven]:
        print(case.describe())
    draw_samples(rows, folder / "classic_solvers.jpg")
    draw_uneven(uneven, folder / "classic_solvers_uneven_light.jpg")
    print(in_words(versions("torch", "numpy", "scikit-image", "matplotlib")))
