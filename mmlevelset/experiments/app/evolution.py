"""An evolution on a photograph: its frames as pictures, its mask and its polygons."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from mmlevelset.experiments.app.models import Outlines, detect, steps_of, union
from mmlevelset.experiments.app.photographs import Photograph
from mmlevelset.experiments.app.solvers import evolve
from mmlevelset.experiments.prediction.polygons import feature, feature_collection, features_of
from mmlevelset.files import write_json, write_picture
from mmlevelset.ops import contours

DRAWN = 768
"""The longer side of a picture, in pixels."""
COLOURS = ((255, 59, 48), (0, 216, 255), (255, 214, 10), (52, 224, 91), (255, 94, 225))
"""RGB of the objects in turn."""
SHIFT = 4
"""OpenCV takes coordinates as whole numbers of 1 / 2**SHIFT pixels."""


class Frame(NamedTuple):
    """A step: its title, and the outlines of all objects in pixels of the photograph."""

    title: str
    outlines: Outlines


@dataclass
class Evolution:
    """The steps on a photograph so far.

    Attributes:
        photograph: The photograph.
        frames: The steps.
        inside: A map (H, W) float32 of the photograph's size, positive inside the last contours.
        properties: The properties of the inside as a feature of GeoJSON.
        features: The objects of a model as features, in pixels of ``photograph.pixels``; None: the
            inside is the only object.
    """

    photograph: Photograph
    frames: list[Frame] = field(default_factory=list)
    inside: np.ndarray | None = None
    properties: dict[str, Any] = field(default_factory=dict)
    features: list[dict[str, Any]] | None = None

    @property
    def scale(self) -> tuple[float, float]:
        """The full image's width and height over the reduced image's."""
        height, width = self.photograph.pixels.shape[:2]
        return self.photograph.full_size[1] / width, self.photograph.full_size[0] / height

    def draw(self, number: int) -> np.ndarray:
        """Return the photograph with the contours of a frame, (H', W', 3) uint8, RGB."""
        return draw(self.photograph.pixels, self.frames[number].outlines)

    def mask(self) -> np.ndarray:
        """Return the last mask in the size of the file's image, (H, W) uint8, 0 or 255."""
        height, width = self.photograph.full_size
        assert self.inside is not None
        values = self.inside
        if values.shape != (height, width):
            values = cv2.resize(values, (width, height), interpolation=cv2.INTER_LINEAR)
        return np.where(values > 0, 255, 0).astype(np.uint8)

    def geojson(self) -> dict[str, Any]:
        """Return the objects in pixels of the file's image, as tools/predict.py writes them."""
        features = self.features
        if features is None:
            assert self.inside is not None
            shape: Any = contours(self.inside, output="geojson")
            features = [feature(shape, **self.properties)]
        scaled = [one | dict(geometry=_scaled(one["geometry"], self.scale)) for one in features]
        return feature_collection(scaled, self.photograph.full_size)

    def write(self, folder: Path) -> tuple[Path, Path]:
        """Write ``mask.png`` and ``contours.geojson`` into a folder; return their paths."""
        mask, polygons = folder / "mask.png", folder / "contours.geojson"
        write_picture(mask, self.mask())
        write_json(polygons, self.geojson())
        return mask, polygons


def solve(
    name: str,
    photograph: Photograph,
    values: Mapping[str, float],
    start: str,
    swapped: bool = False,
) -> Iterator[Evolution]:
    """Yield the evolution of a classic solver with ever more frames.

    Args:
        name: A key of :data:`~mmlevelset.experiments.app.solvers.SOLVERS`.
        photograph: The photograph.
        values: As in :func:`~mmlevelset.experiments.app.solvers.evolve`.
        start: As there.
        swapped: The object is the outside.

    Raises:
        InputError: As there.
    """
    made = Evolution(photograph, properties=dict(label="inside", solver=name))
    for iteration, phi in evolve(name, photograph.pixels, values, start):
        made.inside = -phi if swapped else phi
        outlines = [[ring + 0.5 for ring in contours(made.inside)]]
        made.frames.append(Frame(f"iteration {iteration}", outlines))
        yield made


def predict(name: str, photograph: Photograph, score_thr: float) -> Evolution:
    """Return the steps of a shipped model.

    Raises:
        InputError: As :func:`~mmlevelset.experiments.app.models.detect`.
    """
    found = detect(name, photograph.pixels, score_thr)
    frames = [Frame(title, outlines) for title, outlines in steps_of(found)]
    inside = np.where(union(found), 1, -1).astype(np.float32)
    return Evolution(photograph, frames, inside, features=features_of(found))


def draw(pixels: np.ndarray, outlines: Outlines) -> np.ndarray:
    """Return a photograph with outlines, its longer side :data:`DRAWN` pixels, uint8 RGB."""
    height, width = pixels.shape[:2]
    scale = DRAWN / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    smooth = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    picture = cv2.resize(pixels, size, interpolation=smooth)
    for number, polygons in enumerate(outlines):
        # OpenCV's pixel i has its middle at i.
        points = [
            ((ring * (size[0] / width, size[1] / height) - 0.5) * 2**SHIFT).round().astype(np.int32)
            for ring in polygons
        ]
        for thickness, colour in ((4, (0, 0, 0)), (2, COLOURS[number % len(COLOURS)])):
            cv2.polylines(picture, points, True, colour, thickness, cv2.LINE_AA, SHIFT)
    return picture


def _scaled(shape: dict[str, Any] | None, scale: tuple[float, float]) -> dict[str, Any] | None:
    """Return a geometry with its coordinates multiplied."""
    if shape is None:
        return None

    def convert(part: Any) -> Any:
        if isinstance(part[0], int | float):
            return [round(value * factor, 3) for value, factor in zip(part, scale, strict=True)]
        return [convert(inner) for inner in part]

    return dict(shape, coordinates=convert(shape["coordinates"]) if shape["coordinates"] else [])
