"""Run an exported model without PyTorch: an image in, masks and polygons out.

This file needs NumPy and onnxruntime alone, and Pillow to read and to draw images. It can be copied
out of the package::

    python runtime.py model.onnx PHOTO... [--out FOLDER] [--score 0.3]

As a module::

    from mmlevelset.runtime import Model, read_image

    model = Model("model.onnx")
    found = model(read_image("photo.jpg"))
    found.masks, found.polygons()
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

FORMAT = 1
"""The version of the metadata that ``tools/export.py`` writes."""
SMALLEST_SIDE = 2


class ModelError(Exception):
    """A file is no exported model, or an image does not fit; the message says why in one line."""


@dataclass
class Found:
    """Objects in an image of H x W pixels.

    Attributes:
        masks: (n, H, W), bool.
        labels: Class of each object (n,), int64.
        scores: Confidence (n,) in [0, 1], float32.
        boxes: (n, 4) as x1, y1, x2, y2 in pixels, right and bottom edges exclusive, float32.
        classes: The names of all classes, by label.
        extra: The model's other outputs by name, see docs/export.md.
    """

    masks: np.ndarray
    labels: np.ndarray
    scores: np.ndarray
    boxes: np.ndarray
    classes: tuple[str, ...]
    extra: dict[str, np.ndarray] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.labels)

    def names(self) -> list[str]:
        """The name of each object's class."""
        return [
            self.classes[label] if 0 <= label < len(self.classes) else str(label)
            for label in self.labels.tolist()
        ]

    def polygons(self) -> list[list[np.ndarray]]:
        """The outlines of each object, see :func:`outlines`."""
        return [outlines(mask) for mask in self.masks]

    def above(self, score: float) -> Found:
        """The objects with at least this score."""
        keep = self.scores >= score
        own = len(self)
        extra = {
            name: value[keep] if value.ndim and len(value) == own else value
            for name, value in self.extra.items()
        }
        return Found(
            self.masks[keep],
            self.labels[keep],
            self.scores[keep],
            self.boxes[keep],
            self.classes,
            extra,
        )


class Model:
    """An exported model.

    Args:
        path: The ``.onnx`` file of ``tools/export.py``.
        providers: onnxruntime's execution providers; default: the CPU's.
        threads: Threads of the CPU; 0: onnxruntime's choice.

    Raises:
        ModelError: The file does not exist, or is no exported model.
    """

    def __init__(
        self, path: str | Path, providers: Sequence[str] | None = None, threads: int = 0
    ) -> None:
        import onnxruntime

        if not Path(path).is_file():
            raise ModelError(f"the model {path} does not exist")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        try:
            self.session = onnxruntime.InferenceSession(
                str(path), options, providers=list(providers or ["CPUExecutionProvider"])
            )
            text = self.session.get_modelmeta().custom_metadata_map["mmlevelset"]
            self.about: dict[str, Any] = json.loads(text)
        except Exception as error:  # onnxruntime's errors have no common class
            reason = " ".join(str(error).split())
            raise ModelError(f"{path} is no model of tools/export.py: {reason:.200}") from error
        if self.about.get("format") != FORMAT:
            raise ModelError(
                f"{path} has the format {self.about.get('format')}, but this runtime.py reads"
                f" {FORMAT}: export the model again"
            )
        self.classes = tuple(self.about["classes"])
        self.outputs = [each.name for each in self.session.get_outputs()]

    def __call__(self, image: np.ndarray) -> Found:
        """Return the objects of an image.

        Args:
            image: uint8 (H, W, 3), RGB.

        Raises:
            ModelError: The array is no such image.
        """
        values = self.run(image)
        if self.about["task"] == "instances":
            fields = {name: values.pop(name) for name in ("masks", "labels", "scores", "boxes")}
            return Found(**fields, classes=self.classes, extra=values)
        return _regions(values, self.about["background"], self.classes)

    def run(self, image: np.ndarray) -> dict[str, np.ndarray]:
        """Return the model's outputs by name, for the arguments of :meth:`__call__`."""
        _check(image)
        size = np.array(image.shape[:2], np.int64)
        height, width = network_size(image.shape[0], image.shape[1], self.about["resize"])
        inputs = {"image": resize(image, height, width), "size": size}
        return dict(zip(self.outputs, self.session.run(None, inputs), strict=True))


def _check(image: np.ndarray) -> None:
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8:
        kind = getattr(image, "dtype", type(image).__name__)
        raise ModelError(f"an image must be an array of uint8, but is {kind}")
    if image.ndim != 3 or image.shape[2] != 3 or min(image.shape[:2]) < SMALLEST_SIDE:
        raise ModelError(
            f"an image must have the shape (height, width, 3) with sides of {SMALLEST_SIDE} pixels"
            f" or more, but has {image.shape}"
        )


def _regions(values: dict[str, np.ndarray], background: bool, classes: tuple[str, ...]) -> Found:
    """The classes in a map of classes, as objects; label 0 is left out if it is background."""
    label_map = values.pop("label_map")
    labels = np.unique(label_map)
    labels = labels[labels > 0] if background else labels
    masks = label_map[None] == labels[:, None, None]
    boxes = np.array([_box(mask) for mask in masks], np.float32).reshape(-1, 4)
    scores = np.ones(len(labels), np.float32)
    return Found(masks, labels, scores, boxes, classes, {"label_map": label_map, **values})


def _box(mask: np.ndarray) -> tuple[int, int, int, int]:
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return columns[0], rows[0], columns[-1] + 1, rows[-1] + 1


def network_size(height: int, width: int, rule: dict[str, Any] | None) -> tuple[int, int]:
    """Return height and width of the network's input for an image.

    Args:
        height: Height of the image.
        width: Width of the image.
        rule: ``scale``, a width and a height, and ``keep_ratio``: the image is scaled into the
            rectangle, of which the longer side may lie in either direction; without
            ``keep_ratio`` the input has exactly this size. None: the image's own size.
    """
    if rule is None:
        return height, width
    if not rule["keep_ratio"]:
        return rule["scale"][1], rule["scale"][0]
    long, short = max(rule["scale"]), min(rule["scale"])
    factor = min(long / max(height, width), short / min(height, width))
    return int(height * factor + 0.5), int(width * factor + 0.5)


def resize(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize an image (H, W, 3) bilinearly, as OpenCV does: without smoothing, rounded."""
    if image.shape[:2] == (height, width):
        return np.ascontiguousarray(image)
    top, below, down = _neighbours(image.shape[0], height)
    left, right, along = _neighbours(image.shape[1], width)
    down, along = down[:, None, None], along[:, None]
    rows = image[top] * (1 - down) + image[below] * down
    resized = rows[:, left] * (1 - along) + rows[:, right] * along
    return np.floor(resized + np.float32(0.5)).astype(np.uint8)


def _neighbours(before: int, after: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The two samples around each new sample, and the weight of the second."""
    centres = (np.arange(after) + 0.5) * (before / after) - 0.5
    centres = centres.clip(0, before - 1)
    first = np.floor(centres).astype(np.int64)
    return first, np.minimum(first + 1, before - 1), (centres - first).astype(np.float32)


def outlines(mask: np.ndarray) -> list[np.ndarray]:
    """Return the outlines of a mask along the edges of its pixels.

    Args:
        mask: (H, W), bool. Pixels that touch at a corner alone are not connected.

    Returns:
        Closed polygons (P, 2), float64, of x and y in pixels: outer boundaries have a positive
        signed area (x to the right, y down), holes a negative area. The first point is not
        repeated at the end. Filled, they give exactly the mask.
    """
    padded = np.pad(np.asarray(mask, bool), 1)
    inside = padded[1:-1, 1:-1]
    # Each edge has the mask at its right hand: its start and its direction.
    following: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for neighbour, start, step in (
        (padded[:-2, 1:-1], (0, 0), (1, 0)),  # above
        (padded[1:-1, 2:], (1, 0), (0, 1)),  # at the right
        (padded[2:, 1:-1], (1, 1), (-1, 0)),  # below
        (padded[1:-1, :-2], (0, 1), (0, -1)),  # at the left
    ):
        rows, columns = np.nonzero(inside & ~neighbour)
        for x, y in zip((columns + start[0]).tolist(), (rows + start[1]).tolist(), strict=True):
            following.setdefault((x, y), []).append(step)
    found = []
    while following:
        point = first = next(iter(following))
        step = (0, 0)
        corners = []
        while True:
            choices = following[point]
            right = (-step[1], step[0])
            chosen = right if right in choices else choices[0]
            choices.remove(chosen)
            if not choices:
                del following[point]
            if chosen != step:
                corners.append(point)
            step = chosen
            point = (point[0] + step[0], point[1] + step[1])
            if point == first:
                break
        # The walk may have begun within a straight line.
        if len(corners) > 2 and _turns(corners[-1], corners[0], corners[1]) == 0:
            corners = corners[1:]
        found.append(np.array(corners, np.float64))
    return found


def _turns(a: tuple[int, int], b: tuple[int, int], c: tuple[int, int]) -> int:
    return (b[0] - a[0]) * (c[1] - b[1]) - (b[1] - a[1]) * (c[0] - b[0])


def read_image(path: str | Path) -> np.ndarray:
    """Return an image file as uint8 (H, W, 3) in RGB, turned as its EXIF data say.

    Raises:
        ModelError: The file is no image that Pillow reads.
    """
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as image:
            return np.array(ImageOps.exif_transpose(image).convert("RGB"))
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        raise ModelError(f"{path} is no image that can be read: {error}") from error


def drawn(image: np.ndarray, found: Found) -> np.ndarray:
    """Return a copy of the image with each object's mask in a colour of its own."""
    picture = image.astype(np.float32)
    for number, mask in enumerate(found.masks):
        hue = number * 0.618034 % 1
        colour = np.clip(np.abs((hue + np.array([0, 2 / 3, 1 / 3])) % 1 * 6 - 3) - 1, 0, 1) * 255
        picture[mask] = 0.5 * picture[mask] + 0.5 * colour
    return picture.round().astype(np.uint8)


def as_json(path: str, image: np.ndarray, found: Found) -> dict[str, Any]:
    """Return the objects of a photograph as values of JSON, without masks."""
    objects = [
        {
            "class": name,
            "label": int(label),
            "score": round(float(score), 6),
            "box": [round(float(side), 3) for side in box],
            "polygons": [polygon.tolist() for polygon in polygons],
        }
        for name, label, score, box, polygons in zip(
            found.names(), found.labels, found.scores, found.boxes, found.polygons(), strict=True
        )
    ]
    return {"image": path, "height": image.shape[0], "width": image.shape[1], "objects": objects}


def main(words: Sequence[str] | None = None) -> None:
    made = argparse.ArgumentParser(
        description="Find the objects of photographs; each photograph gives a line of JSON."
    )
    made.add_argument("model", help="the .onnx file of tools/export.py")
    made.add_argument("photos", nargs="+", metavar="PHOTO")
    made.add_argument("--out", metavar="FOLDER", help="draw the masks into this folder, as PNG")
    made.add_argument("--score", type=float, default=0.3, help="smallest score [0.3]")
    arguments = made.parse_args(words)
    try:
        model = Model(arguments.model)
        written: set[Path] = set()
        for path in arguments.photos:
            image = read_image(path)
            found = model(image).above(arguments.score)
            print(json.dumps(as_json(path, image, found)), flush=True)
            if arguments.out:
                target = _unused(Path(arguments.out, Path(path).stem + ".png"), written)
                _save(drawn(image, found), target)
    except (ModelError, OSError) as error:
        print(f"runtime.py: error: {error}", file=sys.stderr)
        sys.exit(2)


def _unused(path: Path, written: set[Path]) -> Path:
    """The path, with a number if another photograph of the call has its name; it joins the set."""
    free, number = path, 1
    while free in written:
        number += 1
        free = path.with_stem(f"{path.stem}_{number}")
    written.add(free)
    return free


def _save(picture: np.ndarray, path: Path) -> None:
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}")
    Image.fromarray(picture).save(unfinished, format="PNG")
    unfinished.replace(path)


if __name__ == "__main__":
    main()
