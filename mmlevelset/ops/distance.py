"""Exact Euclidean signed distances of masks."""

import functools
import importlib
from types import ModuleType

import torch
from torch import Tensor

from mmlevelset.ops import distance_torch
from mmlevelset.ops.arrays import takes_arrays
from mmlevelset.ops.checks import check_real
from mmlevelset.ops.shapes import Spacing, flat, lead, read_spacing


@takes_arrays
def signed_distance(
    mask: Tensor, truncation: float | None = None, *, spacing: Spacing = None
) -> Tensor:
    """Exact Euclidean signed distance to the boundary of a mask, positive inside.

    The boundary lies between pixels. The distance of a pixel is the distance between its centre and
    the nearest pixel centre of the other side, minus one half. So a pixel beside the boundary has
    +-0.5. With ``spacing`` it is half of the smallest spacing that is subtracted. The border of the
    image is not a boundary.

    On a CPU the time is linear in the pixels, whatever the distances are: Numba compiles the
    transform at the first call. Without Numba, and on other devices, PyTorch computes the same, in
    a time that grows with the largest distance up to the truncation.

    Args:
        mask: Masks (..., H, W), or volumes (..., D, H, W) with three numbers as ``spacing``; bool,
            a tensor or a NumPy array.
        truncation: Positive and finite, in units of the spacing (in pixels without it). If given,
            distances are limited to +-truncation and divided by truncation: a truncated signed
            distance function (TSDF) in [-1, 1].
        spacing: Distances of the pixels along (H, W), or of the voxels along (D, H, W), as the
            ``sampling`` of ``scipy.ndimage.distance_transform_edt``; default: square pixels of
            side 1.

    Returns:
        Distances in the mask's shape and the spacing's units (in truncations if truncated),
        float32. If a mask is all inside or all outside, its distance is the diagonal of the image
        or the volume (+-1 if truncated). No gradient flows.

    Raises:
        ValueError: ``mask`` has too few dimensions, or ``truncation`` or ``spacing`` is out of
            range.
        TypeError: ``mask`` is not a bool tensor.

    Example:
        >>> signed_distance(torch.tensor([[False, False, True, True]]))
        tensor([[-1.5000, -0.5000,  0.5000,  1.5000]])
    """
    steps = read_spacing(spacing)
    lead("mask", mask, len(steps))
    if mask.dtype != torch.bool:
        raise TypeError(f"mask must be bool, but is {mask.dtype}")
    if truncation is not None:
        check_real("truncation", truncation, above=0)
    limit = None if truncation is None else float(truncation)
    return _distance(flat(mask, len(steps)), limit, list(steps)).view(mask.shape)


@torch.library.custom_op("mmlevelset::signed_distance", mutates_args=())
def _distance(mask: Tensor, truncation: float | None, steps: list[float]) -> Tensor:
    """Distances of (M, H, W) or (M, D, H, W)."""
    result = torch.empty(mask.shape, dtype=torch.float32, device=mask.device)
    if not mask.numel():
        return result
    if mask.device.type == "cpu" and (compiled := _compiled()):
        compiled.distances(mask.contiguous(), truncation, tuple(steps), out=result)
    else:
        distance_torch.distances(mask, truncation, tuple(steps), out=result)
    return result


@_distance.register_fake
def _(mask, truncation, steps):
    return torch.empty(mask.shape, dtype=torch.float32, device=mask.device)


@functools.cache
def _compiled() -> ModuleType | None:
    """The module of Numba's kernels, if Numba can be imported."""
    try:
        return importlib.import_module("mmlevelset.ops.distance_numba")
    except ImportError:  # absent, or in conflict with the installed NumPy
        return None
