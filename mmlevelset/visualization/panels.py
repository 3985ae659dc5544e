"""Pictures made of panels. A panel is an image with outlines of objects drawn over it."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from matplotlib import patheffects
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from torch import Tensor

from mmlevelset.ops.contours import contours

# Bright hues that stand out from photographs and from each other.
COLORS = (
    "#ff3b30",
    "#00d8ff",
    "#ffd60a",
    "#34e05b",
    "#ff5ee1",
    "#ff9500",
    "#6f8bff",
    "#b4ff39",
    "#00ffc3",
    "#ffa3a3",
)
DPI = 100


@dataclass
class Panel:
    """An image with outlines.

    Attributes:
        image: (H, W, 3) uint8, BGR.
        title: Text above the panel; mathtext between dollar signs.
        outlines: For each object a list of polygons (P, 2) of (x, y) in pixels of the image;
            pixel i covers [i, i+1).
        colors: A matplotlib colour for each object; by default ten colours in turn.
        labels: A text for each object, at the top of its outlines; by default none.
    """

    image: np.ndarray
    title: str = ""
    outlines: Sequence[Sequence[np.ndarray]] = ()
    colors: Sequence[str] = field(default_factory=list)
    labels: Sequence[str] = ()

    def __post_init__(self) -> None:
        check_image(self.image)
        self.colors = self.colors or instance_colors(len(self.outlines))
        if len(self.colors) < len(self.outlines):
            raise ValueError(
                f"colors must hold one colour for each of {len(self.outlines)} objects, "
                f"and holds {len(self.colors)}"
            )


def check_image(image: np.ndarray) -> None:
    """Raise ValueError unless ``image`` is a BGR image."""
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.shape[2:] != (3,):
        got = (
            f"{image.dtype} {image.shape}"
            if isinstance(image, np.ndarray)
            else type(image).__name__
        )
        raise ValueError(f"image must be a uint8 array (H, W, 3) in BGR order, and was {got}")


def to_tensor(array: np.ndarray | Tensor) -> Tensor:
    """Return the array as a tensor on the CPU. The array may be a flipped view."""
    if isinstance(array, np.ndarray):
        array = torch.from_numpy(np.ascontiguousarray(array))
    return array.detach().cpu()


def instance_colors(count: int) -> list[str]:
    """Return ``count`` colours. Neighbours differ clearly; the colours repeat after ten."""
    return [COLORS[index % len(COLORS)] for index in range(count)]


def mask_polygons(masks: np.ndarray | Tensor) -> list[list[np.ndarray]]:
    """Return the outlines of binary masks (n, H, W), as :class:`Panel` takes them.

    An outline runs half-way between pixel centres inside and outside. Corners are cut.
    """
    outlines: list[list[np.ndarray]] = []
    for mask in to_tensor(masks).bool():
        rows, columns = mask.any(1).nonzero(), mask.any(0).nonzero()
        if not len(rows):
            outlines.append([])
            continue
        top, left = int(rows[0]), int(columns[0])
        crop = mask[top : int(rows[-1]) + 1, left : int(columns[-1]) + 1]
        (polygons,) = contours(crop[None].float(), 0.5)
        outlines.append([polygon + 0.5 + [left, top] for polygon in polygons])
    return outlines


def draw_panels(rows: Sequence[Sequence[Panel]], size: int = 420, *, gap: int = 8) -> np.ndarray:
    """Draw panels in rows. Images are scaled; outlines are sharp and keep their sub-pixel places.

    Args:
        rows: The panels of each row, left to right. The images of a row have one scale.
        size: Length in pixels of the longest side among a row's images.
        gap: White pixels between and around the panels.

    Returns:
        (H', W', 3) uint8, BGR, on white.

    Raises:
        ValueError: There is no panel.
    """
    if not any(rows):
        raise ValueError("rows must hold at least one panel, and hold none")
    title_height = 30
    placed, top, right = [], gap, 0
    for row in filter(None, rows):
        scale = size / max(side for panel in row for side in panel.image.shape[:2])
        left, bottom = gap, top
        titled = title_height if any(panel.title for panel in row) else 0
        for panel in row:
            height, width = (round(side * scale) for side in panel.image.shape[:2])
            placed.append((panel, left, top + titled, width, height))
            left += width + gap
            bottom = max(bottom, top + titled + height)
        top, right = bottom + gap, max(right, left)

    figure = Figure(figsize=(right / DPI, top / DPI), dpi=DPI, facecolor="white")
    canvas = FigureCanvasAgg(figure)
    for panel, x, y, width, height in placed:
        position = (x / right, 1 - (y + height) / top, width / right, height / top)
        _draw(figure.add_axes(position), panel, width)
    canvas.draw()
    return np.ascontiguousarray(np.asarray(canvas.buffer_rgba())[:, :, 2::-1])


def _draw(axes, panel: Panel, width: int) -> None:
    height_px, width_px = panel.image.shape[:2]
    axes.imshow(
        panel.image[:, :, ::-1],
        extent=(0, width_px, height_px, 0),
        interpolation="bicubic" if width >= width_px else "hanning",
        interpolation_stage="rgba",
        aspect="auto",
    )
    axes.set(xlim=(0, width_px), ylim=(height_px, 0))
    axes.set_axis_off()
    # A letter is about 0.6 of the font's size wide; mathtext's dollar signs are not drawn.
    letters = max(len(panel.title.replace("$", "")), 1)
    axes.set_title(panel.title, fontsize=min(12, width * 72 / DPI / (0.6 * letters)), pad=6)
    # A dark rim keeps a line visible where the image has the colour of the line.
    rim = [patheffects.Stroke(linewidth=2.6, foreground="black", alpha=0.6), patheffects.Normal()]
    for polygons, color in zip(panel.outlines, panel.colors, strict=False):
        lines = LineCollection(
            polygons, colors=[color], linewidths=1.3, capstyle="round", joinstyle="round"
        )
        lines.set_path_effects(rim)
        axes.add_collection(lines, autolim=False)
    for polygons, color, label in zip(panel.outlines, panel.colors, panel.labels, strict=False):
        if polygons:
            _write(axes, label, np.concatenate(polygons), color)


def _write(axes, label: str, points: np.ndarray, color: str) -> None:
    """Write a label above the middle of an outline's highest pixel row, within the image."""
    y = points[:, 1].min()
    highest = points[points[:, 1] < y + 1, 0]
    x = (highest.min() + highest.max()) / 2
    text = axes.annotate(
        label,
        (x, y),
        xytext=(0, 3),
        textcoords="offset points",
        ha="center",
        va="bottom",
        fontsize=9,
        bbox=dict(boxstyle="square,pad=0.2", facecolor=color, edgecolor="none", alpha=0.85),
    )
    drawn, room = text.get_window_extent(), axes.get_window_extent()
    points_per_pixel = 72 / DPI
    right = max(0, room.x0 + 5 - drawn.x0) - max(0, drawn.x1 + 5 - room.x1)
    down = max(0, drawn.y1 + 5 - room.y1)
    text.set_position((right * points_per_pixel, 3 - down * points_per_pixel))
