"""Sub-pixel contours of level sets."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor

from mmlevelset.ops.checks import check_floating, check_shape

if TYPE_CHECKING:
    import numpy as np


def contours(phi: Tensor, level: float = 0.0) -> list[list[np.ndarray]]:
    """Closed polygons around the regions ``phi > level``, traced by marching squares.

    The contour is interpolated linearly between samples. It is exact for a plane and of second
    order for a smooth phi such as a signed distance. Beyond the border samples phi keeps its value
    up to the outer edge of the border pixels, where the outside begins. So a region that reaches
    the border is closed exactly on that edge (x = -0.5 or W - 0.5, y = -0.5 or H - 0.5), whatever
    the values of phi. If phi > level everywhere, the polygon is the rectangle of all pixels.

    Args:
        phi: Level sets (M, H, W), floating point, finite, on any device; M may be 0.
        level: The value of phi on the contour, finite.

    Returns:
        M lists of polygons. A polygon is a (P, 2) float64 array of points (x, y), with the first
        point repeated at the end. The sample ``phi[m, i, j]`` is at x = j, y = i. The signed area,
        the sum of (x_k y_{k+1} - x_{k+1} y_k) / 2, is positive for an outer boundary (clockwise on
        a screen, where y points down) and negative for a hole, so the signed areas of a region add
        up to its area. A region too small for float64 gives no polygon.

    Raises:
        TypeError: ``phi`` is not a floating-point tensor.
        ValueError: ``phi`` has not the shape (M, H, W) with H, W >= 1, or ``phi`` or ``level`` is
            not finite.
        ImportError: contourpy is not installed.

    Example:
        >>> phi = torch.tensor([[[-1.0, 3.0]]])
        >>> contours(phi)[0][0].tolist()  # doctest: +NORMALIZE_WHITESPACE
        [[0.25, -0.5], [1.0, -0.5], [1.5, -0.5], [1.5, 0.0], [1.5, 0.5], [1.0, 0.5],
         [0.25, 0.5], [0.25, 0.0], [0.25, -0.5]]
    """
    check_shape("phi", phi, ("M", "H", "W"))
    check_floating(phi=phi)
    if 0 in phi.shape[1:]:
        raise ValueError(f"phi must have H and W of at least 1, but has shape {tuple(phi.shape)}")
    if not math.isfinite(level):
        raise ValueError(f"level must be finite, but is {level}")
    if not torch.isfinite(phi).all():
        raise ValueError("phi must be finite, but holds NaN or infinity")
    try:
        import numpy as np
        from contourpy import LineType, contour_generator
    except ImportError as error:
        raise ImportError(
            f"contours needs {error.name}, which is not installed: pip install contourpy"
        ) from error

    values = phi.detach().to("cpu", torch.float64).numpy()
    height, width = values.shape[1:]
    # Two samples are added at the same place, the outer edge of the border pixels: first the
    # border's value, then a value of the outside. The contour has no room between the two.
    x, y = (
        np.array([-0.5, -0.5, *range(size), size - 0.5, size - 0.5]) for size in (width, height)
    )
    farthest = np.array([width - 0.5, height - 0.5])

    def clean(line: np.ndarray) -> np.ndarray:
        # Interpolation between equal coordinates leaves a rounding error.
        line = np.where(line < -0.5 + 1e-9, -0.5, line)
        line = np.where(line > farthest - 1e-9, farthest, line)
        moves = (line[1:] != line[:-1]).any(axis=1)
        return line[np.append(True, moves)]

    polygons = []
    for one in values:
        outside = min(float(one.min()), level) - 1.0
        padded = np.pad(np.pad(one, 1, mode="edge"), 1, constant_values=outside)
        traced = contour_generator(x, y, padded, line_type=LineType.Separate).lines(level)
        lines = map(clean, cast("list[np.ndarray]", traced))
        polygons.append([line for line in lines if len(line) > 3])
    return polygons
