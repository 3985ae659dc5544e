"""Geometry of level sets: curvature, contour length, signed distance."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from mmlevelset.ops.checks import accumulation_dtype, check_floating, check_shape

MINIMUM_ETA = 1e-30
"""Below it, squares of float32 gradients vanish and the curvature is 0 / 0."""


def curvature(phi: Tensor, eta: float = 1e-4) -> Tensor:
    r"""Mean curvature :math:`\mathrm{div}(\nabla\phi / \|\nabla\phi\|)` of the level lines.

    Gradient and divergence are Sobel filters divided by 8 (LevelSet R-CNN, section 4.1), applied
    without padding to ``phi`` extended by two replicated pixels, and
    :math:`\|\nabla\phi\| = \sqrt{\phi_x^2 + \phi_y^2 + \eta}`.

    Args:
        phi: Level sets (M, H, W), floating point.
        eta: Added under the root, at least ``MINIMUM_ETA``. A truncated distance has no gradient
            on about half of its pixels, and there the adjoint is amplified by ``1 / sqrt(eta)``
            each way.

    Returns:
        Curvature (M, H, W) in 1/pixel, float32 (float64 if given): negative for a convex inside
        (``phi > 0``), -1/r on a circle of radius r.
    """
    check_shape("phi", phi, ("M", "H", "W"))
    check_floating(phi=phi)
    if not eta >= MINIMUM_ETA:
        raise ValueError(f"eta must be at least {MINIMUM_ETA:g}, but is {eta}")
    phi = phi.to(accumulation_dtype(phi))  # squares overflow in half precision
    if phi.numel() == 0:
        return phi * 0
    # Padding between the two derivatives would bend an affine function.
    along_x, along_y, scale = _gradient(phi, eta)
    return (_sobel_x(along_x * scale) + _sobel_y(along_y * scale)) / 8


def _gradient(phi: Tensor, eta: float) -> tuple[Tensor, Tensor, Tensor]:
    """8 times the gradient on the frame (M, H+2, W+2), and the factor that normalises it."""
    padded = F.pad(phi[:, None], (2, 2, 2, 2), mode="replicate")[:, 0]
    along_x, along_y = _sobel_x(padded), _sobel_y(padded)
    square = torch.addcmul(along_x * along_x, along_y, along_y)
    return along_x, along_y, torch.rsqrt(square + 64 * eta)


def _sobel_x(image: Tensor) -> Tensor:
    """Sobel filter on the inner pixels: (M, H, W) -> (M, H-2, W-2).

    Written out, since a convolution of one channel is several times slower on a CPU.
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
    """Adjoint of repeating the border twice and taking ``_sobel_x``.

    (M, H+2, W+2) to (M, H, W). The pixels of the extension come back to the pixel that they repeat:
    at the first pixel the filter [-1, 0, 1] becomes [0, 1, 1], and [1, 2, 1] becomes [4, 3, 1].
    """
    difference = frame[:, :, :-2] - frame[:, :, 2:]
    difference[:, :, 0] -= frame[:, :, 0] + frame[:, :, 1]
    difference[:, :, -1] += frame[:, :, -2] + frame[:, :, -1]
    smooth = difference[:, :-2] + 2 * difference[:, 1:-1] + difference[:, 2:]
    smooth[:, 0] += 3 * difference[:, 0] + difference[:, 1]
    smooth[:, -1] += 3 * difference[:, -1] + difference[:, -2]
    return smooth


def contour_length(inside: Tensor, isotropic: bool = False) -> Tensor:
    r"""Length of the contour of a soft indicator: its total variation.

    Args:
        inside: Indicators (M, H, W) in [0, 1], floating point, e.g. ``heaviside(phi)``.
        isotropic: Sum :math:`\sqrt{d_x^2 + d_y^2}` of the forward differences in place of
            :math:`|d_x| + |d_y|` (default; BoxLevelSet). The former is closer to the Euclidean
            length of slanted contours.

    Returns:
        Length (M,) in pixels, float32 (float64 if given). The border of the image is no contour.
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

    The boundary lies between pixels: the distance is that to the nearest pixel centre of the
    other side less one half, so a pixel beside the boundary has +-0.5. The image's border is no
    boundary.

    Args:
        mask: (M, H, W), bool.
        truncation: Positive and finite, in pixels. If given, distances are cut to +-truncation
            and divided by it: a truncated signed distance function (TSDF) in [-1, 1].

    Returns:
        (M, H, W), float32. Where a mask is all inside or all outside, the distance is the
        image's diagonal (+-1 when truncated).
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
        # 16 bits do not hold every reach squared; where they are used, nothing is farther.
        limit = min(reach * reach, torch.iinfo(square.dtype).max)
        distance.masked_fill_(square.abs() > limit, truncation or diagonal)
        if truncation is not None:
            distance.div_(truncation).clamp_(max=1)
        distance.copysign_(square)
    return result


_PIXELS = 2**25
"""Of masks, treated at a time; bounds the memory."""
_PIXELS_ON_CPU = 2**18
"""The same where it matters that all of it stays in the cache."""
_NARROW = 126
"""16 bits, twice as fast as 32, hold the sum of two squares of numbers up to one more."""


def _signed_square(mask: Tensor, reach: int) -> Tensor:
    """Squared distance to the nearest pixel of the other side, negative outside.

    Exact up to a distance of ``reach``, and some number above its square beyond.
    """
    if mask.device.type != "cpu" or reach <= _NARROW:
        return _signed_square_within(mask, reach)
    # Hardly any mask has a pixel so far from its contour, but only a CPU can ask.
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
    # Along the row: one where the side changes; then every pixel asks those 1, 2, 4... away.
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
    # Over the rows: a pixel inside takes the least of upper + step^2, one outside the largest of
    # lower - step^2; the other bound lies on the other side of zero.
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
