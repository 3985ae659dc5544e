"""Shapes of the public functions: images or volumes, with any leading dimensions."""

import math
from collections.abc import Sequence
from numbers import Real
from typing import TYPE_CHECKING, TypeAlias, cast

from torch import Tensor

from mmlevelset.ops.arrays import is_array

if TYPE_CHECKING:
    import numpy as np

Spacing: TypeAlias = "Sequence[float] | np.ndarray | None"

NAMES = {2: ("H", "W"), 3: ("D", "H", "W")}


def read_spacing(spacing: Spacing) -> tuple[float, ...]:
    """The distances of neighbouring pixels along (H, W), or of voxels along (D, H, W); (1, 1)."""
    if spacing is None:
        return (1.0, 1.0)
    if is_array(spacing):
        spacing = cast("np.ndarray", spacing).tolist()
    numbers = isinstance(spacing, Sequence) and all(
        isinstance(step, Real) and not isinstance(step, bool) for step in spacing
    )
    if not numbers or len(spacing) not in NAMES:
        raise ValueError(
            "spacing must be 2 numbers for images or 3 numbers for volumes, in the order of the "
            f"axes, but is {spacing!r}"
        )
    if not all(1e-6 <= step <= 1e6 for step in spacing):
        raise ValueError(f"spacing must lie in [1e-6, 1e6], but is {tuple(spacing)}")
    return tuple(float(step) for step in spacing)


def lead(name: str, tensor: object, dims: int) -> tuple[int, ...]:
    """The leading dimensions of maps (..., H, W) or volumes (..., D, H, W)."""
    if not isinstance(tensor, Tensor):
        kind = type(tensor).__name__
        raise TypeError(f"{name} must be a tensor or a NumPy array, but is {kind}")
    if tensor.ndim < dims:
        wanted = ", ".join(("...", *NAMES[dims]))
        raise ValueError(f"{name} must have shape ({wanted}), but has {tuple(tensor.shape)}")
    return tuple(tensor.shape[: tensor.ndim - dims])


def flat(tensor: Tensor, dims: int) -> Tensor:
    """(..., *S) with one leading dimension (M, *S)."""
    shape = tensor.shape[tensor.ndim - dims :]
    return tensor.reshape(math.prod(tensor.shape[: tensor.ndim - dims]), *shape)
