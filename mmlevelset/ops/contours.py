"""Sub-pixel contours of level sets, and outlines of masks."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor

from mmlevelset.ops.arrays import is_array, to_tensor
from mmlevelset.ops.checks import check_floating, check_real

if TYPE_CHECKING:
    import numpy as np

    Rings = list[np.ndarray]

OUTPUTS = ("rings", "polygons", "shapely", "geojson")


def contours(phi: Tensor | np.ndarray, level: float = 0.0, *, output: str = "rings") -> list[Any]:
    """Closed polygons around the regions ``phi > level``, traced by marching squares.

    The contour is interpolated linearly between samples. It is exact for a plane and of second
    order for a smooth phi such as a signed distance. Beyond the border samples phi keeps its value
    up to the outer edge of the border pixels, where the outside begins. So a region that reaches
    the border is closed exactly on that edge (x = -0.5 or W - 0.5, y = -0.5 or H - 0.5), whatever
    the values of phi. If phi > level everywhere, the polygon is the rectangle of all pixels.

    The contour of a mask (bool) runs along the edges of its pixels: a square of pixels gives that
    square. Pixels that touch in a corner only are not connected.

    Args:
        phi: Level sets (M, H, W), floating point, finite, on any device, or masks (M, H, W), bool;
            M may be 0. A single one (H, W), and any number of leading dimensions. A tensor or a
            NumPy array.
        level: The value of phi on the contour, finite. It has no effect on masks.
        output: ``rings``: all rings of a region set, holes among them. ``polygons``: pairs of an
            outer ring and the list of its holes. ``shapely``: a ``shapely.MultiPolygon``.
            ``geojson``: a geometry of RFC 7946, a dict of type MultiPolygon.

    Returns:
        M results, each a list of rings, a list of pairs, a ``MultiPolygon`` or a dict: for (H, W)
        the one result, for more leading dimensions lists of lists. All four are made of NumPy
        arrays or Python numbers, whatever phi is.

        A ring is a (P, 2) float64 array of points (x, y), with the first point repeated at the end.
        In ``rings`` and ``polygons`` the sample ``phi[i, j]`` is at x = j, y = i, as an index of an
        array. In ``shapely`` and ``geojson`` it is at x = j + 0.5, y = i + 0.5, so the image covers
        [0, W] x [0, H]. The signed area, the sum of (x_k y_{k+1} - x_{k+1} y_k) / 2, is positive
        for an outer boundary (clockwise on a screen, where y points down) and negative for a hole,
        so the signed areas of a region add up to its area. A region too small for float64 gives no
        polygon.

    Raises:
        TypeError: ``phi`` is not a tensor or an array, is masked, or is neither floating point nor
            bool.
        ValueError: ``phi`` has not the shape (..., H, W) with H, W >= 1, ``phi`` or ``level`` is
            not finite, or ``output`` is unknown.
        ImportError: contourpy is not installed, or shapely, for ``output="shapely"``.

    Example:
        >>> phi = torch.tensor([[[-1.0, 3.0]]])
        >>> contours(phi)[0][0].tolist()  # doctest: +NORMALIZE_WHITESPACE
        [[0.25, -0.5], [1.0, -0.5], [1.5, -0.5], [1.5, 0.0], [1.5, 0.5], [1.0, 0.5],
         [0.25, 0.5], [0.25, 0.0], [0.25, -0.5]]
        >>> contours(phi[0] > 0, output="geojson")["coordinates"]
        [[[[1.0, 0.0], [2.0, 0.0], [2.0, 1.0], [1.0, 1.0], [1.0, 0.0]]]]
    """
    values = to_tensor("phi", phi) if is_array(phi) else cast(Tensor, phi)
    _check(values, level, output)
    try:
        import contourpy  # noqa: F401
    except ImportError as error:
        raise ImportError(
            f"contours needs {error.name}, which is not installed: pip install contourpy"
        ) from error
    is_mask = values.dtype == torch.bool
    values = values.detach().cpu() if is_mask else values.detach().to("cpu", torch.float64)

    def convert(one: np.ndarray) -> Any:
        if one.ndim > 2:
            return [convert(part) for part in one]
        if output == "rings":
            groups = _trace_mask(one) if is_mask else _trace(one, level)
            return [ring for group in groups for ring in group]
        groups = _trace_mask(one) if is_mask else _trace(_off_level(one, level), level)
        pairs = [pair for group in groups for pair in _with_holes(group)]
        if output == "polygons":
            return pairs
        moved = [(outer + 0.5, [hole + 0.5 for hole in holes]) for outer, holes in pairs]
        return _shapely(moved) if output == "shapely" else _geojson(moved)

    return convert(values.numpy())


def _check(phi: Tensor, level: float, output: str) -> None:
    if not isinstance(phi, Tensor):
        raise TypeError(f"phi must be a tensor or a NumPy array, but is {type(phi).__name__}")
    if phi.ndim < 2:
        raise ValueError(f"phi must have shape (..., H, W), but has {tuple(phi.shape)}")
    if phi.dtype != torch.bool:
        check_floating(phi=phi)
    if 0 in phi.shape[-2:]:
        raise ValueError(f"phi must have H and W of at least 1, but has shape {tuple(phi.shape)}")
    check_real("level", level)
    if output not in OUTPUTS:
        raise ValueError(f"output must be one of {', '.join(OUTPUTS)}, but is {output!r}")
    if not torch.isfinite(phi).all():
        raise ValueError("phi must be finite, but holds NaN or infinity")


def _trace(phi: np.ndarray, level: float) -> list[Rings]:
    """For each outer ring of a level set the list of it and its holes."""
    import numpy as np

    height, width = phi.shape
    # Two samples are added at the same place, the outer edge of the border pixels: first the
    # border's value, then a value of the outside. The contour has no room between the two.
    x, y = (
        np.array([-0.5, -0.5, *range(size), size - 0.5, size - 0.5]) for size in (width, height)
    )
    farthest = np.array([width - 0.5, height - 0.5])
    outside = min(float(phi.min()), level) - 1.0
    padded = np.pad(np.pad(phi, 1, mode="edge"), 1, constant_values=outside)

    def clean(ring: np.ndarray) -> np.ndarray:
        # Interpolation between equal coordinates leaves a rounding error.
        ring = np.where(ring < -0.5 + 1e-9, -0.5, ring)
        ring = np.where(ring > farthest - 1e-9, farthest, ring)
        return _moving(ring)

    rings = [[clean(ring) for ring in group] for group in _marching_squares(x, y, padded, level)]
    return [[ring for ring in group if len(ring) > 3] for group in rings]


def _off_level(phi: np.ndarray, level: float) -> np.ndarray:
    """Move samples on the level a little below it: else rings may have sides in common."""
    import numpy as np

    away = np.abs(phi - level)
    smallest = away[away > 0].min(initial=1.0)
    return np.where(away > 0, phi, level - max(1e-7 * smallest, 4 * np.spacing(abs(level))))


def _trace_mask(mask: np.ndarray) -> list[Rings]:
    """The same of a mask, along the edges of its pixels."""
    import numpy as np

    rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    if not len(rows):
        return []
    top, left = rows[0], columns[0]
    mask = mask[top : rows[-1] + 1, left : columns[-1] + 1]
    # Two samples at the same place, one of each neighbour: the contour has no room between them.
    doubled = np.pad(mask.repeat(2, 0).repeat(2, 1).astype(float), 1)
    y, x = (np.repeat(np.arange(size + 1.0), 2) for size in mask.shape)
    corner = np.array([left, top]) - 0.5

    def clean(ring: np.ndarray) -> list[np.ndarray]:
        loops = _simple_rings(_moving(ring.round()))
        return [_corners(loop) + corner for loop in loops]

    groups = _marching_squares(x, y, doubled, 0.5)
    return [[loop for ring in group for loop in clean(ring)] for group in groups]


def _marching_squares(x: np.ndarray, y: np.ndarray, z: np.ndarray, level: float) -> list[Rings]:
    from contourpy import FillType, contour_generator

    generator = contour_generator(x, y, z, fill_type=FillType.OuterOffset)
    filled: Any = generator.filled(level, math.inf)
    points, offsets = filled
    return [
        [rings[start:stop] for start, stop in pairwise(ends)]
        for rings, ends in zip(points, offsets, strict=True)
    ]


def _moving(ring: np.ndarray) -> np.ndarray:
    """A ring without points that repeat the point before."""
    import numpy as np

    return ring[np.append(True, (ring[1:] != ring[:-1]).any(axis=1))]


def _corners(ring: np.ndarray) -> np.ndarray:
    """A ring along the edges of pixels without the points on straight lines."""
    import numpy as np

    ring = ring[:-1]
    before, after = np.roll(ring, 1, 0) - ring, np.roll(ring, -1, 0) - ring
    ring = ring[(before[:, 0] != -after[:, 0]) | (before[:, 1] != -after[:, 1])]
    return np.append(ring, ring[:1], 0)


def _simple_rings(ring: np.ndarray) -> Rings:
    """The loops of a ring that passes a point twice; the ring itself if it does not."""
    import numpy as np

    points = list(map(tuple, ring.tolist()))
    if len(set(points)) == len(points) - 1:
        return [ring]
    loops: Rings = []
    path: list[tuple] = []
    position: dict[tuple, int] = {}
    for point in points:
        if point in position:
            start = position[point]
            loops.append(np.array([*path[start:], point]))
            for passed in path[start + 1 :]:
                del position[passed]
            del path[start + 1 :]
        else:
            position[point] = len(path)
            path.append(point)
    return loops


def signed_area(ring: np.ndarray) -> float:
    """Positive for an outer ring, negative for a hole."""
    x, y = (ring - ring[0]).T
    return float((x[:-1] * y[1:] - x[1:] * y[:-1]).sum() / 2)


def _with_holes(group: Rings) -> list[tuple[np.ndarray, Rings]]:
    """The outer rings of a group, each with the holes that lie in it."""
    loops = [loop for ring in group for loop in _simple_rings(ring)]
    areas = [signed_area(loop) for loop in loops]
    pairs: list[tuple[np.ndarray, Rings]] = [
        (loop, []) for loop, area in zip(loops, areas, strict=True) if area > 0
    ]
    for hole in (loop for loop, area in zip(loops, areas, strict=True) if area < 0):
        # Outer rings of one group do not lie in each other.
        holder = next((p for p in pairs[:-1] if _contains(p[0], hole)), pairs[-1])
        holder[1].append(hole)
    return pairs


def _contains(outer: np.ndarray, ring: np.ndarray) -> bool:
    """Whether the middle of a side of a ring lies in the outer ring, by crossings of a ray."""
    x, y = (ring[0] + ring[1]) / 2
    (x1, y1), (x2, y2) = outer[:-1].T, outer[1:].T
    crossed = (y1 <= y) != (y2 <= y)
    at = x1[crossed] + (y - y1[crossed]) * ((x2 - x1)[crossed] / (y2 - y1)[crossed])
    return bool((at > x).sum() % 2)


def _shapely(pairs: list[tuple[np.ndarray, Rings]]) -> Any:
    try:
        import shapely
    except ImportError as error:
        raise ImportError(
            "output='shapely' needs shapely, which is not installed: pip install shapely"
        ) from error
    return shapely.MultiPolygon(pairs)


def _geojson(pairs: list[tuple[np.ndarray, Rings]]) -> dict[str, Any]:
    polygons = [[ring.tolist() for ring in (outer, *holes)] for outer, holes in pairs]
    return {"type": "MultiPolygon", "coordinates": polygons}
