"""Geometry of level sets: curvature, contour length, signed distance."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from mmlevelset.ops.checks import accumulation_dtype, check_floating, check_shape

MINIMUM_ETA = 1e-30
"""For a smaller eta, squares of float32 gradients underflow and the curvature is 0 / 0."""


def curvature(phi: Tensor, eta: float = 1e-4) -> Tensor:
    r"""Mean curvature :math:`\mathrm{div}(\nabla\phi / \|\nabla\phi\|)` of the level lines.

    Gradient and divergence are Sobel filters divided by 8 (LevelSet R-CNN, section 4.1), and
    :math:`\|\nabla\phi\| = \sqrt{\phi_x^2 + \phi_y^2 + \eta}`. ``phi`` is first extended by two
    replicated pixels on each side; the filters are applied without padding.

    Args:
        phi: Level sets (M, H, W), floating point.
        eta: Added under the root, at least ``MINIMUM_ETA``. Where phi is flat (about half of the
            pixels of a truncated distance), the gradient of the result grows as ``1 / sqrt(eta)``.

    Returns:
        Curvature (M, H, W) in 1/pixel; float32, or float64 if ``phi`` is float64. It is negative
        for a convex inside (``phi > 0``): -1/r on a circle of radius r.

    Raises:
        ValueError: ``phi`` has not the shape (M, H, W), or ``eta`` is too small.
        TypeError: ``phi`` is not a floating-point tensor.

    Example:
        >>> t = torch.arange(-20.0, 21.0)
        >>> disc = 10 - torch.hypot(t[:, None], t)
        >>> curvature(disc[None])[0, 20, 30]  # on the contour
        tensor(-0.1007)
    """
    check_shape("phi", phi, ("M", "H", "W"))
    check_floating(phi=phi)
    if not eta >= MINIMUM_ETA:
        raise ValueError(f"eta must be at least {MINIMUM_ETA:g}, but is {eta}")
    phi = phi.to(accumulation_dtype(phi))  # squares overflow in half precision
    if phi.numel() == 0:
        return phi * 0
    # Padding between the two filters would give an affine function a curvature.
    along_x, along_y, scale = _gradient(phi, eta)
    return (_sobel_x(along_x * scale) + _sobel_y(along_y * scale)) / 8


def _gradient(phi: Tensor, eta: float) -> tuple[Tensor, Tensor, Tensor]:
    """8 times the gradient (x, y), and the factor that normalises it, all (M, H+2, W+2)."""
    padded = F.pad(phi[:, None], (2, 2, 2, 2), mode="replicate")[:, 0]
    along_x, along_y = _sobel_x(padded), _sobel_y(padded)
    square = torch.addcmul(along_x * along_x, along_y, along_y)
    return along_x, along_y, torch.rsqrt(square + 64 * eta)


def _sobel_x(image: Tensor) -> Tensor:
    """Sobel filter on the inner pixels: (M, H, W) -> (M, H-2, W-2).

    The filter is written out, since a convolution of one channel is several times slower on a CPU.
    """
    difference = image[:, :, 2:] - image[:, :, :-2]
    sides = difference[:, :-2] + difference[:, 2:]
    return sides.add_(difference[:, 1:-1], alpha=2)


def _sobel_y(image: Tensor) -> Tensor:
    difference = image[:, 2:] - image[:, :-2]
    sides = difference[:, :, :-2] + difference[:, :, 2:]
    return sides.add_(difference[:, :, 1:-1], alpha=2)


def curvature_adjoint(phi: Tensor, grad: Tensor, eta: float = 1e-4) -> Tensor:
    """Gradient of ``(curvature(phi, eta) * grad).sum()`` with respect to phi, (M, H, W)."""
    if phi.numel() == 0:
        return torch.zeros_like(phi)
    along_x, along_y, scale = _gradient(phi, eta)
    grad = F.pad(grad, (2, 2, 2, 2))
    # A Sobel filter is odd, so it is minus its own adjoint; its 1 / 8 cancels in the gradient.
    back_x, back_y = _sobel_x(grad), _sobel_y(grad)
    radial = (along_x * back_x + along_y * back_y) * scale.square()
    back_x = (along_x * radial - back_x) * scale
    back_y = (along_y * radial - back_y) * scale
    return (_sobel_x_adjoint(back_x) + _sobel_x_adjoint(back_y.mT).mT) / 8


def _sobel_x_adjoint(frame: Tensor) -> Tensor:
    """Adjoint of repeating the border twice, then ``_sobel_x``: (M, H+2, W+2) -> (M, H, W).

    A repeated pixel adds its gradient to the border pixel that it copies. So at the first pixel the
    filter [-1, 0, 1] becomes [0, 1, 1], and [1, 2, 1] becomes [4, 3, 1].
    """
    difference = frame[:, :, :-2] - frame[:, :, 2:]
    difference[:, :, 0] -= frame[:, :, 0] + frame[:, :, 1]
    difference[:, :, -1] += frame[:, :, -2] + frame[:, :, -1]
    smooth = difference[:, :-2] + 2 * difference[:, 1:-1] + difference[:, 2:]
    smooth[:, 0] += 3 * difference[:, 0] + difference[:, 1]
    smooth[:, -1] += 3 * difference[:, -1] + difference[:, -2]
    return smooth


def contour_length(inside: Tensor, isotropic: bool = False) -> Tensor:
    r"""Length of the contour of a soft indicator: its total variation :math:`\sum |d_x| + |d_y|`.

    :math:`d_x, d_y` are forward differences, as in BoxLevelSet.

    Args:
        inside: Indicators (M, H, W) in [0, 1], floating point, e.g. ``heaviside(phi)``.
        isotropic: Sum :math:`\sqrt{d_x^2 + d_y^2}` instead, which is closer to the Euclidean length
            of slanted contours.

    Returns:
        Lengths (M,) in pixels; float32, or float64 if ``inside`` is float64. The border of the
        image is not part of a contour.

    Raises:
        ValueError: ``inside`` has not the shape (M, H, W).
        TypeError: ``inside`` is not a floating-point tensor.

    Example:
        >>> inside = torch.zeros(1, 9, 8)
        >>> inside[:, 2:6, 3:7] = 1
        >>> contour_length(inside)
        tensor([16.])
    """
    check_shape("inside", inside, ("M", "H", "W"))
    check_floating(inside=inside)
    inside = inside.to(accumulation_dtype(inside))
    dx, dy = inside.diff(dim=2), inside.diff(dim=1)
    if not isotropic:
        return dx.abs().sum((1, 2)) + dy.abs().sum((1, 2))
    square = F.pad(dx, (0, 1)).square() + F.pad(dy, (0, 0, 0, 1)).square()
    positive = square > 0  # the root has no derivative at zero
    return torch.where(positive, square.where(positive, 1.0).sqrt(), 0.0).sum((1, 2))


def signed_distance(mask: Tensor, truncation: float | None = None) -> Tensor:
    """Exact Euclidean signed distance to the boundary of a mask, positive inside.

    The boundary lies between pixels. The distance of a pixel is the distance between its centre and
    the nearest pixel centre of the other side, minus one half. So a pixel beside the boundary has
    +-0.5. The border of the image is not a boundary.

    Args:
        mask: Masks (M, H, W), bool.
        truncation: Positive and finite, in pixels. If given, distances are limited to +-truncation
            and divided by truncation: a truncated signed distance function (TSDF) in [-1, 1].

    Returns:
        Distances (M, H, W) in pixels (in truncations if truncated), float32. If a mask is all
        inside or all outside, its distance is the image's diagonal (+-1 if truncated).

    Raises:
        ValueError: ``mask`` has not the shape (M, H, W), or ``truncation`` is out of range.
        TypeError: ``mask`` is not a bool tensor.

    Example:
        >>> signed_distance(torch.tensor([[[False, False, True, True]]]))
        tensor([[[-1.5000, -0.5000,  0.5000,  1.5000]]])
    """
    check_shape("mask", mask, ("M", "H", "W"))
    if mask.dtype != torch.bool:
        raise TypeError(f"mask must be bool, but is {mask.dtype}")
    if truncation is not None and not 0 < truncation < math.inf:
        raise ValueError(f"truncation must be positive and finite, but is {truncation}")
    result = torch.empty(mask.shape, dtype=torch.float32, device=mask.device)
    if mask.numel() == 0:
        return result
    pixels = mask.shape[1] * mask.shape[2]
    diagonal = math.hypot(*mask.shape[1:])
    reach = math.ceil(diagonal if truncation is None else min(diagonal, truncation + 0.5))
    size = max(1, (_PIXELS_ON_CPU if mask.device.type == "cpu" else _PIXELS) // pixels)
    for some, distance in zip(mask.split(size), result.split(size), strict=True):
        square = _signed_square(some, reach)
        distance.copy_(square).abs_().sqrt_().sub_(0.5)
        # reach squared may exceed 16 bits; squares are held in 16 bits only if none is larger.
        limit = min(reach * reach, torch.iinfo(square.dtype).max)
        distance.masked_fill_(square.abs() > limit, truncation or diagonal)
        if truncation is not None:
            distance.div_(truncation).clamp_(max=1)
        distance.copysign_(square)
    return result


_PIXELS = 2**25
"""Pixels of masks that are processed together; limits the memory."""
_PIXELS_ON_CPU = 2**18
"""The same on a CPU, so that the buffers stay in the cache."""
_NARROW = 126
"""Largest reach for 16 bits, twice as fast as 32: they hold 2 (reach + 1)^2."""


def _signed_square(mask: Tensor, reach: int) -> Tensor:
    """Squared distance to the nearest pixel of the other side, negative outside.

    The square is exact up to ``reach ** 2``; beyond, it is some larger number.
    """
    if mask.device.type != "cpu" or reach <= _NARROW:
        return _signed_square_within(mask, reach)
    # Few masks have a pixel so far from the boundary. On a GPU this check would wait for it.
    square = _signed_square_within(mask, _NARROW)
    farther = (square.abs() > _NARROW**2).flatten(1).any(1)
    if farther.any():
        exact = _signed_square_within(mask[farther], reach)
        square = square.to(exact.dtype)
        square[farther] = exact
    return square


def _signed_square_within(mask: Tensor, reach: int) -> Tensor:
    _, height, width = mask.shape
    far = reach + 1
    dtype = next(
        dtype
        for dtype in (torch.int16, torch.int32, torch.int64)
        if 2 * far * far <= torch.iinfo(dtype).max
    )
    # Distance along the row: 1 beside a change of side; then each pixel takes the minimum over the
    # pixels 1, 2, 4, ... away, plus their distance.
    row = torch.full(mask.shape, far, dtype=dtype, device=mask.device)
    change = mask[..., 1:] != mask[..., :-1]
    row[..., 1:].masked_fill_(change, 1)
    row[..., :-1].masked_fill_(change, 1)
    hop = 1
    while hop < min(reach, width):
        hopped = row + hop
        torch.minimum(row[..., hop:], hopped[..., :-hop], out=row[..., hop:])
        torch.minimum(row[..., :-hop], hopped[..., hop:], out=row[..., :-hop])
        hop *= 2
    # Over the rows: a pixel inside takes the smallest upper + step^2, a pixel outside the largest
    # lower - step^2. For each pixel the other bound has the other sign and does nothing.
    upper = row.square_() * mask
    lower = upper - row
    square = upper + lower
    on_cpu = mask.device.type == "cpu"
    for step in range(1, min(reach, height - 1) + 1):
        upper.add_(2 * step - 1)
        lower.sub_(2 * step - 1)
        square[:, step:].clamp_(lower[:, :-step], upper[:, :-step])
        square[:, :-step].clamp_(lower[:, step:], upper[:, step:])
        if on_cpu and step % 8 == 0 and square.abs().max() <= step * step:
            break
    return square
