import builtins
import json
import math

import numpy as np
import pytest
import shapely
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from skimage.measure import find_contours

from mmlevelset.ops import chan_vese
from mmlevelset.ops.contours import contours


def grid(height: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.meshgrid(
        torch.arange(height, dtype=torch.float64),
        torch.arange(width, dtype=torch.float64),
        indexing="ij",
    )


def disk(x: float, y: float, radius: float, size: int = 64) -> torch.Tensor:
    row, column = grid(size, size)
    return radius - torch.hypot(column - x, row - y)


def area(polygon: np.ndarray) -> float:
    x, y = polygon.T
    return float(np.sum(x[:-1] * y[1:] - x[1:] * y[:-1]) / 2)


def trace(phi: torch.Tensor, level: float = 0.0) -> list[np.ndarray]:
    (polygons,) = contours(phi[None], level)
    for polygon in polygons:
        assert polygon.dtype == np.float64 and polygon.ndim == 2 and polygon.shape[1] == 2
        assert (polygon[0] == polygon[-1]).all()
        assert (polygon[1:] != polygon[:-1]).any(axis=1).all()
    return polygons


def rotated(polygon: np.ndarray) -> np.ndarray:
    """The same closed polygon, beginning at its first point in lexical order."""
    ring = polygon[:-1]
    return np.roll(ring, -int(np.lexsort(ring.T[::-1])[0]), axis=0)


def test_circle_has_its_radius():
    (polygon,) = trace(disk(30.3, 27.8, 17.4))
    radius = np.hypot(*(polygon - [30.3, 27.8]).T)
    assert np.abs(radius - 17.4).max() < 1e-2
    assert area(polygon) == pytest.approx(math.pi * 17.4**2, rel=2e-3)


def test_other_level_is_another_circle():
    (polygon,) = trace(disk(30.3, 27.8, 17.4), level=5.0)
    assert np.abs(np.hypot(*(polygon - [30.3, 27.8]).T) - 12.4).max() < 1e-2


@pytest.mark.parametrize("offset", [0.25, 1.0, 2.25, 6.9])
def test_half_plane_at_known_offset(offset):
    _, column = grid(5, 8)
    (polygon,) = trace(offset - column)
    assert area(polygon) == pytest.approx((offset + 0.5) * 5, abs=1e-6)
    assert polygon[:, 0].max() == pytest.approx(offset, abs=1e-6)
    assert polygon[:, 0].min() == -0.5
    assert (polygon[:, 1].min(), polygon[:, 1].max()) == (-0.5, 4.5)


def test_slanted_line_is_exact():
    row, column = grid(20, 30)
    (polygon,) = trace(3.7 + 0.31 * column - row)
    inner = polygon[(polygon > 0).all(axis=1) & (polygon < [29, 19]).all(axis=1)]
    assert len(inner) > 30
    np.testing.assert_allclose(inner[:, 1], 3.7 + 0.31 * inner[:, 0], atol=1e-6)


def test_equals_scikit_image_inside_the_grid():
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(1, 1, 9, 10, generator=generator, dtype=torch.float64)
    phi = torch.nn.functional.interpolate(noise, size=(70, 80), mode="bicubic")[0, 0]
    phi[[0, -1]] = phi[:, [0, -1]] = -1.0
    # No 2 x 2 cell has diagonally opposite signs; such a cell can be connected in two ways.
    sign = phi > 0
    saddle = (sign[1:, 1:] == sign[:-1, :-1]) & (sign[1:, :-1] == sign[:-1, 1:])
    assert not (saddle & (sign[1:, 1:] != sign[1:, :-1])).any()

    ours = sorted((rotated(polygon) for polygon in trace(phi)), key=lambda p: p[0].tolist())
    # (row, column) becomes (x, y), which also reverses the orientation.
    lines = find_contours(phi.numpy(), 0.0, positive_orientation="low")
    theirs = sorted((rotated(line[:, ::-1]) for line in lines), key=lambda p: p[0].tolist())
    assert len(ours) == len(theirs) > 5
    for our, their in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(our, their, atol=1e-9)


def test_hole_runs_the_other_way():
    ring = torch.minimum(disk(31, 31, 20.5), -disk(31, 31, 9.5))
    outer, hole = sorted(trace(ring), key=area, reverse=True)
    assert area(outer) == pytest.approx(math.pi * 20.5**2, rel=2e-3)
    assert area(hole) == pytest.approx(-math.pi * 9.5**2, rel=5e-3)


def test_two_components():
    both = torch.maximum(disk(15, 20, 8.5), disk(45, 40, 11.5))
    assert sorted(area(p) for p in trace(both)) == pytest.approx(
        [math.pi * 8.5**2, math.pi * 11.5**2], rel=5e-3
    )


@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 2**32 - 1))
@settings(max_examples=50, deadline=None)
def test_full_grid_is_exactly_the_rectangle(height, width, seed):
    generator = torch.Generator().manual_seed(seed)
    phi = torch.rand(height, width, generator=generator, dtype=torch.float64) * 100 + 1e-6
    (polygon,) = trace(phi)
    corners = [[-0.5, -0.5], [width - 0.5, -0.5], [width - 0.5, height - 0.5], [-0.5, height - 0.5]]
    for corner in corners:
        assert (polygon == corner).all(axis=1).any()
    on_x = np.isin(polygon[:, 0], [-0.5, width - 0.5])
    on_y = np.isin(polygon[:, 1], [-0.5, height - 0.5])
    assert (on_x | on_y).all()
    assert area(polygon) == pytest.approx(height * width, abs=1e-9)


@given(
    arrays(np.float64, (6, 7), elements=st.sampled_from([-9.0, -1.0, -0.3, 0.0, 0.2, 1.0, 50.0]))
)
@settings(max_examples=100, deadline=None)
def test_samples_lie_on_their_side(values):
    """A sample is inside by its winding number if and only if phi > 0; no point is off the grid."""
    polygons = trace(torch.from_numpy(values))
    for i, j in np.ndindex(values.shape):
        if values[i, j] == 0:
            continue
        winding = 0.0
        for polygon in polygons:
            angle = np.unwrap(np.arctan2(polygon[:, 1] - i, polygon[:, 0] - j))
            winding += (angle[-1] - angle[0]) / (2 * np.pi)
        assert round(winding) == int(values[i, j] > 0)
    for polygon in polygons:
        assert (polygon >= -0.5).all() and (polygon <= [6.5, 5.5]).all()


@pytest.mark.parametrize("value", [-1.0, 0.0])
def test_nothing_above_the_level_gives_no_polygon(value):
    assert contours(torch.full((2, 4, 5), value)) == [[], []]


def test_no_level_sets():
    assert contours(torch.zeros(0, 4, 5)) == []


def test_level_sets_are_independent_of_each_other():
    phi = torch.stack([disk(30, 30, 12), disk(20, 40, 5), torch.full((64, 64), 2.0)])
    together = contours(phi)
    for alone, polygons in zip(phi, together, strict=True):
        for expected, polygon in zip(trace(alone), polygons, strict=True):
            np.testing.assert_array_equal(polygon, expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_other_dtypes_strides_and_gradients(dtype):
    phi = disk(30, 30, 12).to(dtype).requires_grad_()
    (polygon,) = trace(phi.t())
    assert np.abs(np.hypot(*(polygon - 30).T) - 12).max() < 0.05


def test_bad_input_is_named():
    with pytest.raises(ValueError, match=r"phi must have shape \(..., H, W\), but has \(5,\)"):
        contours(torch.zeros(5))
    with pytest.raises(ValueError, match=r"H and W of at least 1.*\(2, 0, 5\)"):
        contours(torch.zeros(2, 0, 5))
    with pytest.raises(TypeError, match=r"phi must be floating point.*int64"):
        contours(torch.zeros(1, 4, 5, dtype=torch.long))
    with pytest.raises(TypeError, match=r"phi must be a tensor or a NumPy array, but is list"):
        contours([[1.0]])
    with pytest.raises(TypeError, match="phi must be an array without a mask"):
        contours(np.ma.masked_less(np.zeros((4, 5)), 1))
    with pytest.raises(ValueError, match="phi must be finite"):
        contours(torch.full((1, 4, 5), float("nan")))
    with pytest.raises(ValueError, match="level must be finite"):
        contours(torch.zeros(1, 4, 5), level=float("inf"))
    with pytest.raises(ValueError, match="output must be one of rings, .*, but is 'wkt'"):
        contours(torch.zeros(1, 4, 5), output="wkt")


def test_arrays_and_leading_dimensions():
    phi = torch.stack([disk(30, 30, 12), disk(20, 40, 5)])
    expected = contours(phi)
    for got in (
        contours(phi.numpy()),
        [contours(one.numpy()) for one in phi],
        contours(phi[None])[0],
    ):
        for one, other in zip(got, expected, strict=True):
            np.testing.assert_array_equal(one, other)
    swapped = phi[0].numpy().astype(">f8")[::-1, ::-1]
    assert area(contours(swapped)[0]) == pytest.approx(area(expected[0][0]))


# Masks, and rings with their holes


@pytest.mark.parametrize("kind", ["array", "tensor"])
def test_a_square_of_pixels_is_that_square(kind):
    mask = np.zeros((9, 8), bool)
    mask[2:6, 3:7] = True
    (ring,) = contours(mask if kind == "array" else torch.from_numpy(mask))
    assert set(map(tuple, ring.tolist())) == {(2.5, 1.5), (6.5, 1.5), (6.5, 5.5), (2.5, 5.5)}
    assert len(ring) == 5
    geometry = contours(mask, output="geojson")
    assert geometry["type"] == "MultiPolygon"
    (((*corners, last),),) = geometry["coordinates"]
    assert sorted(corners) == [[3, 2], [3, 6], [7, 2], [7, 6]] and last == corners[0]
    assert json.loads(json.dumps(geometry)) == geometry
    assert contours(mask, output="shapely").equals(shapely.box(3, 2, 7, 6))


def test_holes_go_with_their_outer_ring():
    mask = np.zeros((20, 30), bool)
    mask[1:19, 1:15] = mask[3:9, 18:25] = True
    mask[3:17, 3:13] = mask[5:7, 20:22] = False
    mask[6:12, 5:10] = True  # an island within the first hole
    mask[8, 7] = False
    polygons = contours(mask, output="polygons")
    found = sorted((area(outer), [area(hole) for hole in holes]) for outer, holes in polygons)
    assert found == [(30, [-1]), (42, [-4]), (252, [-140])]
    for ring, orientation in ((polygons[0][0], 1), (polygons[0][1][0], -1)):
        assert np.sign(area(ring)) == orientation
    assert contours(mask, output="shapely").area == mask.sum()


@given(arrays(bool, st.tuples(st.integers(1, 7), st.integers(1, 7))))
@settings(max_examples=100, deadline=None, derandomize=True)
def test_outlines_of_masks_are_valid_and_cover_their_pixels(mask):
    """Pixels that meet in corners are the hard case: rings must not touch themselves."""
    outline = contours(mask, output="shapely")
    assert outline.is_valid and outline.area == mask.sum()
    y, x = np.indices(mask.shape) + 0.5
    assert (shapely.contains_xy(outline, x, y) == mask).all()


@given(arrays(np.float64, (5, 6), elements=st.sampled_from([-9.0, -1.0, 0.0, 0.2, 1.0])))
@settings(max_examples=100, deadline=None, derandomize=True)
def test_polygons_of_level_sets_are_valid(values):
    """Also where samples lie on the level."""
    outline = contours(values, output="shapely")
    assert outline.is_valid
    assert outline.area == pytest.approx(sum(area(ring) for ring in contours(values)), abs=1e-5)
    y, x = np.indices(values.shape) + 0.5
    assert (shapely.contains_xy(outline, x, y) == (values > 0)).all()


def test_contours_of_a_solver():
    y, x = np.mgrid[:40, :40]
    mask = chan_vese(np.hypot(y - 20, x - 20) < 10, mu=0.1, init_level_set="disk")
    (ring,) = contours(mask)
    assert area(ring) == mask.sum()


def test_missing_contourpy_is_told(monkeypatch):
    original = builtins.__import__

    def without_contourpy(name, *args, **kwargs):
        if name == "contourpy":
            raise ModuleNotFoundError("No module named 'contourpy'", name="contourpy")
        return original(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_contourpy)
    with pytest.raises(ImportError, match="pip install contourpy"):
        contours(torch.zeros(1, 4, 5))
