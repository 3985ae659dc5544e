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

    Coordinates are pixels of the photograph: x to the right, y down, (0, 0) the outer corner of
    the first pixel, (W, H) that of the last. So no map can show them, but each reader of GeoJSON
    can read them.

    Args:
        found: The objects.
        photograph: The name in the member ``photograph``.
    """
    height, width = found.size
    features = [
        dict(
            type="Feature",
            geometry=geometry(polygons),
            properties=dict(label=label, score=score),
        )
        for polygons, label, score in zip(
            found.polygons, found.names, found.scores.tolist(), strict=True
        )
    ]
    return dict(
        type="FeatureCollection",
        features=features,
        photograph=photograph,
        width=width,
        height=height,
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
