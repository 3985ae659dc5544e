import numpy as np
import pytest
import torch

from mmlevelset.experiments.prediction.polygons import geometry
from mmlevelset.ops import contours
from mmlevelset.visualization import mask_polygons


def area(rings: list) -> float:
    """The area of a polygon of GeoJSON: the outer ring without the holes."""
    total = 0.0
    for ring in rings:
        x, y = np.array(ring).T
        assert ring[0] == ring[-1]
        total += float((x[:-1] * y[1:] - x[1:] * y[:-1]).sum() / 2)
    return total


def disc(x: float, y: float, radius: float, size: int = 60) -> torch.Tensor:
    grid = torch.arange(size, dtype=torch.float64)
    return radius - ((grid - x) ** 2 + (grid[:, None] - y) ** 2).sqrt()


def test_holes_belong_to_the_boundary_around_them():
    ring = torch.minimum(disc(20, 30, 18), -disc(20, 30, 12))
    phi = torch.maximum(torch.maximum(ring, disc(20, 30, 5)), disc(48, 30, 6))
    (polygons,) = contours(phi[None])
    made = geometry(polygons)
    assert made["type"] == "MultiPolygon"
    # The largest first: the ring with its hole, the disc beside it, the disc within it.
    assert [len(part) for part in made["coordinates"]] == [2, 1, 1]
    areas = [area(part) for part in made["coordinates"]]
    expected = [np.pi * (18**2 - 12**2), np.pi * 6**2, np.pi * 5**2]
    assert areas == pytest.approx(expected, rel=0.02)
    assert sum(areas) == pytest.approx((phi > 0).sum().item(), rel=0.03)


def test_a_single_part_is_a_polygon_in_pixel_corners():
    mask = torch.zeros(1, 8, 9, dtype=torch.bool)
    mask[0, 2:6, 3:9] = True  # to the right edge of the image
    (polygons,) = mask_polygons(mask)
    made = geometry(polygons)
    assert made["type"] == "Polygon"
    (ring,) = made["coordinates"]
    assert np.min(ring, axis=0).tolist() == [3, 2] and np.max(ring, axis=0).tolist() == [9, 6]
    assert area([ring]) > 0


def test_an_object_without_an_area_has_no_geometry():
    assert geometry([]) is None
    assert geometry(contours(-torch.ones(1, 4, 4))[0]) is None
