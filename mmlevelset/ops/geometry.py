"""Geometry of level sets: curvature, contour length, signed distance."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from mmlevelset.ops.checks import check_floating, check_shape


def curvature(phi: Tensor, eta: float = 1e-4) -> Tensor:
    r"""Mean curvature :math:`\mathrm{div}(\nabla\phi / \|\nabla\phi\|)` of the level lines.

    Gradient and divergence are Sobel filters divided by 8 (LevelSet R-CNN, section 4.1), applied
    without padding to ``phi`` extended by two replicated pixels, and
    :math:`\|\nabla\phi\| = \sqrt{\phi_x^2 + \phi_y^2 + \eta}`.

    Args:
        phi: Level sets (M, H, W), floating point.
        eta: Added under the root, positive. A truncated distance has no gradient on about half
            of its pixels, and there the adjoint is amplified by ``1 / sqrt(eta)`` each way.

    Returns:
        Curvature (M, H, W) in 1/pixel: negative for a convex inside (``phi > 0``), -1/r on a
        circle of radius r.
    """
    check_shape("phi", phi, ("M", "H", "W"))
    check_floating(phi=phi)
    if not eta > 0:
        raise ValueError(f"eta must be positive, but is {eta}")
    if phi.numel() == 0:
        return phi * 0
    # Padding between the two derivatives would bend an affine function.
    padded = F.pad(phi[:, None], (2, 2, 2, 2), mode="replicate")[:, 0]
    along_x, along_y = _derivative_x(padded), _derivative_y(padded)
    scale = torch.rsqrt(along_x.square() + along_y.square() + eta)
    return _derivative_x(along_x * scale) + _derivative_y(along_y * scale)


def _derivative_x(image: Tensor) -> Tensor:
    """Sobel filter / 8 on the inner pixels: (M, H, W) -> (M, H-2, W-2).

    Written out, since a convolution of one channel is several times slower on a CPU.
    """
    difference = image[:, :, 2:] - image[:, :, :-2]
    return (difference[:, :-2] + 2 * difference[:, 1:-1] + difference[:, 2:]) / 8


def _derivative_y(image: Tensor) -> Tensor:
    return _derivative_x(image.transpose(1, 2)).transpose(1, 2)


def contour_length(inside: Tensor, isotropic: bool = False) -> Tensor:
    r"""Length of the contour of a soft indicator: its total variation.

    Args:
        inside: Indicators (M, H, W) in [0, 1], floating point, e.g. ``heaviside(phi)``.
        isotropic: Sum :math:`\sqrt{d_x^2 + d_y^2}` of the forward differences in place of
            :math:`|d_x| + |d_y|` (default; BoxLevelSet). The former is closer to the Euclidean
            length of slanted contours.

    Returns:
        Length (M,) in pixels. The border of the image is no contour.
    """
    check_shape("inside", inside, ("M", "H", "W"))
    check_floating(inside=inside)
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
        truncation: Positive, in pixels. If given, distances are cut to +-truncation and divided
            by it: a truncated signed distance function (TSDF) in [-1, 1].

    Returns:
        (M, H, W), float32. Where a mask is all inside or all outside, the distance is the
        image's diagonal (+-1 when truncated).
    """
    check_shape("mask", mask, ("M", "H", "W"))
    if mask.dtype != torch.bool:
        raise TypeError(f"mask must be bool, but is {mask.dtype}")
    if truncation is not None and not truncation > 0:
        raise ValueError(f"truncation must be positive, but is {truncation}")
    count, height, width = mask.shape
    if mask.numel() == 0:
        return torch.zeros(mask.shape, device=mask.device)
    largest = max(math.hypot(height, width), truncation or 0)
    reach = height - 1 if truncation is None else min(height - 1, math.ceil(truncation + 0.5))
    square = _squared_distance(torch.cat([mask, ~mask]), reach)
    outside, inside = square.sqrt().clamp(max=largest + 0.5).split(count)
    signed = torch.where(mask, inside - 0.5, 0.5 - outside)
    return signed if truncation is None else (signed / truncation).clamp(-1, 1)


def _squared_distance(target: Tensor, reach: int) -> Tensor:
    """Squared distance to the nearest true pixel, exact up to ``reach`` rows away.

    Separable: the distance along the row first, then the lower envelope over rows.
    """
    _, height, width = target.shape
    far = 4.0 * (height + width + reach)
    column = torch.arange(width, device=target.device, dtype=torch.float32)
    last = torch.where(target, column, -far).cummax(2).values
    following = torch.where(target, column, width + far).flip(2).cummin(2).values.flip(2)
    row = torch.minimum(column - last, following - column).square_()
    square = row.clone()
    for step in range(1, reach + 1):
        shifted = row + step * step
        torch.minimum(square[:, step:], shifted[:, :-step], out=square[:, step:])
        torch.minimum(square[:, :-step], shifted[:, step:], out=square[:, :-step])
    return square
