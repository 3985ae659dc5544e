"""Polygons of objects as GeoJSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    from mmlevelset.experiments.prediction.detector import Detections

DIGITS = 3
"""Digits after the point of a coordinate: a thousandth of a pixel."""


def collection(found: Detections, photograph: str) -> dict[str, Any]:
    """Return the objects of a photograph as a GeoJSON FeatureCollection.

    Args:
        found: The objects.
        photograph: The name in the member ``photograph``.
    """
    return feature_collection(features_of(found), found.size, photograph=photograph)


def features_of(found: Detections) -> list[dict[str, Any]]:
    """Return the objects of a photograph as features of GeoJSON."""
    return [
        feature(geometry(polygons), label=label, score=score)
        for polygons, label, score in zip(
            found.polygons, found.names, found.scores.tolist(), strict=True
        )
    ]


def feature(shape: dict[str, Any] | None, **properties: Any) -> dict[str, Any]:
    """Return a feature of GeoJSON from a geometry and its properties."""
    return dict(type="Feature", geometry=shape, properties=properties)


def feature_collection(
    features: Sequence[dict[str, Any]], size: tuple[int, int], **members: Any
) -> dict[str, Any]:
    """Return a GeoJSON FeatureCollection in pixels of an image.

    x runs to the right, y down, (0, 0) is the outer corner of the first pixel, (W, H) that of the
    last. So no map can show them, but each reader of GeoJSON can read them.

    Args:
        features: The features.
        size: Height and width of the image.
        **members: Further members of the collection.
    """
    height, width = size
    return dict(
        type="FeatureCollection", features=list(features), **members, width=width, height=height
    )


def geometry(polygons: Sequence[np.ndarray]) -> dict[str, Any] | None:
    """Return the MultiPolygon or Polygon of an object.

    Args:
        polygons: Closed polygons (P, 2) of (x, y); a positive signed area is an outer boundary, a
            negative area a hole, as of :func:`mmlevelset.ops.contours`. A hole belongs to the
            smallest boundary around it.

    Returns:
        The geometry; None for an object without an area.
    """
    from matplotlib.path import Path

    from mmlevelset.ops.contours import signed_area

    areas = [signed_area(polygon) for polygon in polygons]
    outer = sorted((n for n, area in enumerate(areas) if area > 0), key=areas.__getitem__)
    rings = {n: [polygons[n]] for n in outer}
    for polygon, area in zip(polygons, areas, strict=True):
        if area < 0:
            around = (n for n in outer if Path(polygons[n]).contains_point(polygon[0]))
            owner = next(around, None)
            if owner is not None:
                rings[owner].append(polygon)
    parts = [
        [_closed(ring) for ring in rings[n]] for n in sorted(rings, key=areas.__getitem__)[::-1]
    ]
    if len(parts) == 1:
        return dict(type="Polygon", coordinates=parts[0])
    return dict(type="MultiPolygon", coordinates=parts) if parts else None


def _closed(ring: np.ndarray) -> list[list[float]]:
    points = ring.round(DIGITS).tolist()
    return points if points[0] == points[-1] else [*points, points[0]]
