"""Pictures of the objects on a photograph."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from mmlevelset.experiments.prediction.detector import Detections
    from mmlevelset.visualization import Panel

SMALLEST, LARGEST = 640, 1600
"""Limits of the longer side of the picture with the contours, in pixels."""
BEST = 3
"""The number of objects in the picture of evolutions."""
PANEL = 300
"""The longer side of a panel of an evolution."""


def draw_contours(found: Detections) -> np.ndarray:
    """Return the photograph (H', W', 3) BGR with the contours, names and scores of its objects."""
    import cv2
    import numpy as np

    from mmlevelset.visualization import Panel, draw_panels

    labels = [f"{name} {score:.2f}" for name, score in zip(found.names, found.scores, strict=True)]
    image, outlines = found.image, found.polygons
    if max(found.size) > LARGEST:  # OpenCV is faster than Matplotlib
        height, width = (round(side * LARGEST / max(found.size)) for side in found.size)
        image = cv2.resize(image, (max(1, width), max(1, height)), interpolation=cv2.INTER_AREA)
        scale = np.divide(image.shape[1::-1], found.image.shape[1::-1])
        outlines = [[polygon * scale for polygon in polygons] for polygons in outlines]
    size = max(*image.shape[:2], SMALLEST)
    return draw_panels([[Panel(image, "", outlines, labels=labels)]], size, gap=0)


def draw_evolutions(found: Detections) -> np.ndarray | None:
    """Return a row for each of the best objects: phi_0..phi_N, or the first and the last mask.

    Returns:
        (H', W', 3) BGR; None if the model has neither level sets nor initial masks, or there is no
        object.
    """
    from mmlevelset.visualization import draw_panels

    rows = [row for number in range(min(BEST, len(found))) if (row := _row(found, number))]
    return draw_panels(rows, PANEL) if rows else None


def _row(found: Detections, number: int) -> list[Panel]:
    from mmlevelset.visualization import Panel, evolution_panels
    from mmlevelset.visualization.panels import instance_colors

    color = [instance_colors(number + 1)[number]]
    left, top, right, bottom = _window(found, number)
    crop = found.image[top:bottom, left:right].copy()
    shift = [left, top]
    if found.level_sets is not None:
        one = slice(number, number + 1)
        refined = None if found.refined is None else found.refined[one]
        boxes = found.boxes[one] - [*shift, *shift]
        row = evolution_panels(crop, found.level_sets[one], boxes, colors=color, refined=refined)
    elif found.initial is not None:
        named = dict(initial=found.initial[number], final=found.polygons[number])
        row = [
            Panel(crop, title, [[polygon - shift for polygon in polygons]], color)
            for title, polygons in named.items()
        ]
    else:
        return []
    row[0].title = f"{found.names[number]} {found.scores[number]:.2f}: {row[0].title}"
    return row


def _window(found: Detections, number: int) -> tuple[int, int, int, int]:
    """Return the pixels around an object: its box and a sixth of its size on each side."""
    height, width = found.size
    x1, y1, x2, y2 = found.boxes[number].tolist()
    margin = max(4.0, max(x2 - x1, y2 - y1) / 6)
    left, top = max(0, int(x1 - margin)), max(0, int(y1 - margin))
    return left, top, min(width, int(x2 + margin) + 1), min(height, int(y2 + margin) + 1)
