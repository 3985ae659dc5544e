"""A picture of each function of mmlevelset.ops, on sample images of scikit-image.

The command writes ops.jpg into --out-dir. It needs matplotlib and scikit-image.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from skimage import data

from mmlevelset import ops
from mmlevelset.experiments.drawing.classic_solvers import (
    Case,
    flower,
    rectangle,
    sample_cases,
    save,
)

ROWS, COLUMNS = 3, 5


def picture(axes: Axes, image: np.ndarray, title: str, **options) -> None:
    axes.imshow(image, **{"cmap": "gray", **options})
    axes.set_title(title, fontsize=10)
    axes.set_axis_off()


def lines(
    axes: Axes, phi: np.ndarray, colour: str = "red", levels: Sequence[float] = (0.0,)
) -> None:
    for level in levels:
        for ring in ops.contours(phi, level):
            axes.plot(ring[:, 0], ring[:, 1], color=colour, linewidth=1.3)


def blossom() -> np.ndarray:
    """Return the signed distances of the flower."""
    return ops.signed_distance(torch.from_numpy(flower()[1])).numpy()


def step_functions(axes: Axes) -> None:
    phi = torch.linspace(-3, 3, 201)
    axes.plot(phi, ops.heaviside(phi, 0.5), label="heaviside")
    axes.plot(phi, ops.dirac(phi, 0.5), label="dirac")
    axes.legend(fontsize=8)
    axes.set_title("heaviside, dirac", fontsize=10)
    axes.set_xlabel("phi, eps = 0.5", fontsize=8)


def distance(axes: Axes) -> None:
    phi = blossom()
    limit = np.abs(phi).max()
    picture(axes, phi, "signed_distance", cmap="RdBu_r", vmin=-limit, vmax=limit)
    lines(axes, phi, "black", range(-40, 41, 10))


def bend(axes: Axes) -> None:
    phi = blossom()
    smooth = torch.nn.functional.avg_pool2d(torch.from_numpy(phi)[None], 9, 1)[0]
    curvature = ops.curvature(smooth)
    picture(axes, curvature.numpy(), "curvature", cmap="RdBu_r", vmin=-0.15, vmax=0.15)
    lines(axes, smooth.numpy(), "black")


def length(axes: Axes) -> None:
    mask = flower()[1]
    measured = ops.contour_length(torch.from_numpy(mask).float(), isotropic=True)
    picture(axes, mask, f"contour_length: {float(measured):.0f} pixels")
    lines(axes, mask)


def means(axes: Axes) -> None:
    mask = data.coins() > 115
    image, inside = torch.from_numpy(data.coins() / 255.0), torch.from_numpy(mask).double()
    first, second = ops.region_means(image[None], inside)
    energy = ops.region_energy(image[None], inside).item() / mask.size
    title = f"region_means; region_energy\n{energy:.4f} a pixel"
    picture(axes, np.where(mask, first.item(), second.item()), title, vmin=0, vmax=1)


def evolution(axes: Axes) -> None:
    image = flower()[0] - 3 * np.arange(128) / 128
    features = torch.from_numpy(image).float()[None]
    square = torch.from_numpy(rectangle(image, slice(40, 88), slice(40, 88)))
    phi = ops.evolve_chan_vese(
        ops.signed_distance(square, 20.0), features, 1.0, 1.0, 0.05, 0.3, 0.5, steps=12,
        return_trajectory=True,
    )  # fmt: skip
    picture(axes, image, "evolve_chan_vese, steps 0, 4, 12")
    for step, colour in ((0, "gold"), (4, "deepskyblue"), (12, "red")):
        lines(axes, phi[step].numpy(), colour)


def solved(case: Case) -> Callable[[Axes], None]:
    def draw(axes: Axes) -> None:
        case.solve()
        picture(axes, case.image, f"{case.solver.__name__}\n{case.iterations} iterations")
        lines(axes, case.phi)

    return draw


def solvers() -> list[Callable[[Axes], None]]:
    """Return a panel of each solver, of the cases of docs/classic_solvers.md."""
    rows = sample_cases()
    return [solved(case) for case in (rows[0][0], rows[1][1], rows[2][0], rows[3][1])]


def cat() -> torch.Tensor:
    """Return a part of scikit-image's chelsea, (H, W, 3), in [0, 1]."""
    return torch.from_numpy(data.chelsea()[20:280:2, 60:320:2].copy()) / 255


def square(axes: Axes) -> None:
    picture(axes, cat().numpy(), "a square in a photograph")
    axes.add_patch(Rectangle((39.5, 59.5), 6, 6, fill=False, color="red", linewidth=1.5))


def tree(axes: Axes) -> None:
    """The share of that square in each pixel, along the tree of the photograph."""
    guide = cat().movedim(2, 0)[None]
    marks = torch.zeros(1, 1, *guide.shape[2:])
    marks[0, 0, 60:66, 40:46] = 1
    grown = ops.tree_filter(marks, ops.minimum_spanning_tree(guide), guide, 0.02)[0, 0]
    title = "minimum_spanning_tree, tree_filter"
    picture(axes, (grown / grown.max()).sqrt().numpy(), title, cmap="magma")


def outlines(axes: Axes) -> None:
    mask = np.zeros((9, 10), bool)
    mask[1:8, 2:9] = True
    mask[3:6, 4:6] = False
    mask[1:3, 7:9] = False
    picture(axes, mask, "contours: outer ring and hole", vmax=3)
    ((outer, holes),) = ops.contours(mask, output="polygons")
    for ring, colour in ((outer, "red"), *((hole, "deepskyblue") for hole in holes)):
        axes.plot(ring[:, 0], ring[:, 1], color=colour, linewidth=2)


def body(axes: Any) -> None:
    z, y, x = np.mgrid[-1:1:33j, -1:1:33j, -1:1:33j]
    phi = 0.32 - np.hypot(np.hypot(x, y) - 0.6, z)
    vertices, faces = ops.surface(phi, spacing=(1.0, 1.0, 1.0))
    axes.plot_trisurf(*vertices.T[::-1], triangles=faces, cmap="viridis", linewidth=0)
    axes.set_title("surface", fontsize=10)
    axes.set_box_aspect((1, 1, 0.5))
    axes.set_axis_off()


def draw(path: Path) -> None:
    panels = [step_functions, bend, length, distance, means, evolution, *solvers()]
    panels += [square, tree, outlines, body]
    figure = Figure(figsize=(14, 9), layout="constrained")
    for number, panel in enumerate(panels, 1):
        projection = "3d" if panel is body else None
        panel(figure.add_subplot(ROWS, COLUMNS, number, projection=projection))
    save(figure, path)


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out-dir", default="docs/images", metavar="FOLDER", help="[%(default)s]")
    folder = Path(parser.parse_args(words).out_dir)
    folder.mkdir(parents=True, exist_ok=True)
    draw(folder / "ops.jpg")
