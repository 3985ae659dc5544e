"""Surfaces of level sets in volumes."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, cast

import torch
from torch import Tensor

from mmlevelset.ops.arrays import is_array, to_tensor
from mmlevelset.ops.checks import check_finite, check_floating, check_real
from mmlevelset.ops.shapes import Spacing, lead, read_spacing

if TYPE_CHECKING:
    import numpy as np


class Surface(NamedTuple):
    """Triangles of a closed surface, as arrays.

    Attributes:
        vertices: Points (V, 3) float64 in the order of the axes (z, y, x), in units of the spacing;
            the centre of voxel [0, 0, 0] is at (0, 0, 0).
        faces: Three vertices of each triangle (F, 3) int64. Normals by the right-hand rule point
            out of the inside.
    """

    vertices: np.ndarray
    faces: np.ndarray


def surface(
    phi: Tensor | np.ndarray, level: float = 0.0, *, spacing: Spacing = (1.0, 1.0, 1.0)
) -> Surface:
    """The surface around the region ``phi > level`` of a volume, by scikit-image's marching cubes.

    The surface is closed: a region that reaches the border of the volume ends half a voxel beyond
    the centres of the border voxels.

    Args:
        phi: A level set (D, H, W), floating point and finite, or a mask, bool, whose surface lies
            halfway between the centres of the voxels; a tensor on any device or a NumPy array.
        level: The value of phi on the surface, finite. It has no effect on masks.
        spacing: Distances of the voxels along (D, H, W).

    Returns:
        A :class:`Surface` of NumPy arrays; without vertices if phi > level nowhere.

    Raises:
        ValueError: ``phi`` has not the shape (D, H, W) with positive sizes, or an argument is not
            finite or out of range.
        TypeError: ``phi`` is neither floating point nor bool, or is masked.
        ImportError: scikit-image is not installed.

    Example:
        >>> z, y, x = torch.meshgrid(*[torch.arange(21.0) - 10] * 3, indexing="ij")
        >>> ball = surface(8 - (z**2 + y**2 + x**2).sqrt(), spacing=(2, 1, 1))
        >>> ball.vertices.max(0).round(1).tolist()  # 18 of 20 voxels, of 2 and of 1
        [36.0, 18.0, 18.0]
    """
    values = to_tensor("phi", phi) if is_array(phi) else cast(Tensor, phi)
    steps = read_spacing(spacing)
    if len(steps) != 3:
        raise ValueError(f"spacing must be 3 numbers for a volume, but is {spacing!r}")
    if lead("phi", values, 3) or not values.numel():
        raise ValueError(
            f"phi must have shape (D, H, W) with positive sizes, but has {tuple(values.shape)}"
        )
    if values.dtype == torch.bool:
        values, level = values.double(), 0.5
    check_floating(phi=values)
    check_finite(phi=values)
    check_real("level", level)
    try:
        import numpy as np
        from skimage.measure import marching_cubes
    except ImportError as error:
        raise ImportError(
            "surface needs scikit-image, which is not installed: pip install scikit-image"
        ) from error
    inner = values.detach().to("cpu", torch.float64).numpy()
    if not (inner > level).any():
        return Surface(np.zeros((0, 3)), np.zeros((0, 3), np.int64))
    # Mirrored at the level, so that the surface lies halfway to the added voxels.
    wide = np.pad(inner, 1, mode="edge")
    border = np.pad(np.zeros(inner.shape, bool), 1, constant_values=True)
    wide = np.where(border & (wide > level), 2 * level - wide, wide)
    wide = np.where(wide == level, level - 1e-12 * max(1.0, float(np.ptp(wide))), wide)
    vertices, faces, _, _ = marching_cubes(wide, level, allow_degenerate=False)
    vertices = (vertices.astype(np.float64) - 1) * np.array(steps)
    faces = faces.astype(np.int64)
    corners = vertices[faces] - vertices[0]
    if np.einsum("fi,fi->", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])) < 0:
        faces = faces[:, ::-1].copy()
    return Surface(vertices, faces)
