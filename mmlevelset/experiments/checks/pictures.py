"""The pictures of the report: a histogram of the categories, and a sheet of overlays."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from mmlevelset.annotations import CocoFile
from mmlevelset.experiments.checks.images import decode_mask
from mmlevelset.files import write_figure, write_picture
from mmlevelset.visualization.panels import Panel, draw_panels, instance_colors, mask_polygons

PANEL = 400
COLUMNS = 4


def draw_histogram(categories: Sequence[dict[str, Any]], path: Path) -> None:
    """Draw the number of instances of each category, most frequent first, on a log scale."""
    ordered = sorted(categories, key=lambda category: -category["instances"])
    figure = Figure((7, max(1.5, 0.2 * len(ordered) + 0.8)), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    numbers = [category["instances"] for category in ordered]
    bars = axes.barh([str(category["name"]) for category in ordered], numbers, color="#4477aa")
    axes.bar_label(bars, labels=[f"{number:,}" for number in numbers], padding=3, fontsize=8)
    axes.invert_yaxis()
    axes.set_xscale("symlog", linthresh=1)
    axes.set_xlim(0, 3 * max([1, *numbers]))
    axes.set_xlabel("instances (crowds left out)")
    axes.tick_params(axis="y", labelsize=8)
    axes.margins(y=0.01)
    axes.spines[["top", "right"]].set_visible(False)
    write_figure(path, figure)


def choose(file: CocoFile, count: int, seed: int) -> list[dict]:
    """Choose images at random; images that show a new category come first."""
    order = np.random.default_rng(seed).permutation(len(file.images)).tolist()
    shows: dict[Any, set] = {}
    for annotation in file.annotations:
        shows.setdefault(annotation["image_id"], set()).add(annotation["category_id"])
    shuffled = [file.images[index] for index in order]
    first: list[dict] = []
    rest: list[dict] = []
    seen: set = set()
    for image in shuffled:
        categories = shows.get(image["id"], set())
        (first if categories - seen else rest).append(image)
        seen |= categories
    return (first + rest)[:count]


def draw_sheet(
    images: Sequence[dict],
    used: dict[Any, list[dict]],
    names: dict[Any, str],
    folder: Path,
    path: Path,
) -> int:
    """Draw images with their instances, each in its own colour and with its class's name.

    Args:
        images: The images to draw; images that cannot be read are left out.
        used: Image id -> its used annotations.
        names: Category id -> name.
        folder: The folder of the images.
        path: The JPEG file to write.

    Returns:
        The number of images on the sheet. Without an image no file is written.
    """
    panels = []
    for image in images:
        picture = cv2.imread(str(folder / image["file_name"]), cv2.IMREAD_COLOR)
        if picture is not None and picture.shape[:2] == (image["height"], image["width"]):
            title = Path(image["file_name"]).name
            panels.append(_overlay(picture, used[image["id"]], names, title))
    if panels:
        rows = [panels[start : start + COLUMNS] for start in range(0, len(panels), COLUMNS)]
        write_picture(path, draw_panels(rows, PANEL), [cv2.IMWRITE_JPEG_QUALITY, 88])
    return len(panels)


def _overlay(picture: np.ndarray, annotations: list[dict], names: dict, title: str) -> Panel:
    height, width = picture.shape[:2]
    scale = PANEL / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    shown = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    # Large instances first: small instances lie on top and stay visible.
    annotations = sorted(annotations, key=lambda annotation: -annotation["area"])
    labels = []
    for annotation, color in zip(annotations, instance_colors(len(annotations)), strict=True):
        ink = tuple(round(255 * value) for value in to_rgb(color)[::-1])
        mask = decode_mask(annotation, height, width)
        if mask is None:
            outlines = _box_outline(annotation, scale)
        else:
            small = cv2.resize(255 * mask, size, interpolation=cv2.INTER_AREA) >= 64
            shown[small] = (0.65 * shown[small] + 0.35 * np.array(ink)).astype(np.uint8)
            outlines = mask_polygons(small[None])[0]
        if outlines:
            # OpenCV takes sixteenths of a pixel, with zero at the centre of the first pixel.
            points = [np.round(16 * (polygon - 0.5)).astype(np.int32) for polygon in outlines]
            cv2.polylines(shown, points, True, ink, 2, cv2.LINE_AA, 4)
            crowd = " (crowd)" if annotation.get("iscrowd") else ""
            corners = np.concatenate(outlines)
            highest = corners[corners[:, 1].argmin()]
            labels.append((names.get(annotation["category_id"], "?") + crowd, highest, ink))
    for text, point, ink in labels:
        _write(shown, text, point, ink)
    return Panel(shown, title)


def _box_outline(annotation: dict, scale: float) -> list[np.ndarray]:
    x, y, w, h = (scale * value for value in annotation["bbox"])
    return [np.array([[x, y], [x + w, y], [x + w, y + h], [x, y + h]])]


def _write(image: np.ndarray, text: str, above: np.ndarray, ink: tuple[int, ...]) -> None:
    font, size = cv2.FONT_HERSHEY_SIMPLEX, 0.36
    (width, height), _ = cv2.getTextSize(text, font, size, 1)
    x = int(np.clip(above[0] - width / 2, 0, max(0, image.shape[1] - width - 2)))
    y = int(np.clip(above[1], height + 4, image.shape[0]))
    cv2.rectangle(image, (x, y - height - 4), (x + width + 1, y - 1), ink, cv2.FILLED)
    cv2.putText(image, text, (x + 1, y - 3), font, size, (0, 0, 0), 1, cv2.LINE_AA)
