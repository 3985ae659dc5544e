"""Geometry of level sets: curvature and contour length."""

from functools import reduce

import torch
import torch.nn.functional as F
from torch import Tensor

from mmlevelset.ops.arrays import takes_arrays
from mmlevelset.ops.checks import accumulation_dtype, check_floating, check_number
from mmlevelset.ops.shapes import Spacing, flat, lead, read_spacing

MINIMUM_ETA = 1e-20
"""The gradient of the curvature of a flat phi is up to ``eta ** -0.5``; its square fits float32."""

_LARGEST = {torch.float32: 1e15, torch.float64: 1e150}
"""Larger level sets are scaled down: the squares of their gradients would overflow."""


@takes_arrays
def curvature(phi: Tensor, eta: float = 1e-4, *, spacing: Spacing = None) -> Tensor:
    r"""Mean curvature :math:`\mathrm{div}(\nabla\phi / \|\nabla\phi\|)` of the level lines.

    Gradient and divergence are Sobel filters divided by 8 (LevelSet R-CNN, section 4.1), and
    :math:`\|\nabla\phi\| = \sqrt{\phi_x^2 + \phi_y^2 + \eta}`. ``phi`` is first extended by two
    replicated pixels on each side; the filters are applied without padding. In volumes the filters
    are the products of a central difference along one axis and (1, 2, 1) / 4 along the others.

    Args:
        phi: Level sets (..., H, W), or (..., D, H, W) with three numbers as ``spacing``; floating
            point, a tensor or a NumPy array. Any finite value is allowed; but beside a value above
            1e15 of float32 (1e150 of float64), gradients 1e18 times smaller count as flat.
        eta: Added under the root, at least ``MINIMUM_ETA`` (1e-20). Where phi is flat (about half
            of the pixels of a truncated distance), the gradient of the result grows as
            ``1 / sqrt(eta)``.
        spacing: Distances of the pixels along (H, W), or of the voxels along (D, H, W); default:
            an image with square pixels of side 1.

    Returns:
        Curvature in phi's shape, in one over the units of ``spacing``; float32, or float64 if
        ``phi`` is float64. It is negative for a convex inside (``phi > 0``): -1/r on a circle of
        radius r, and -2/r on a sphere, the sum of both principal curvatures.

    Raises:
        ValueError: ``phi`` has too few dimensions, or ``eta`` or ``spacing`` is out of range.
        TypeError: ``phi`` is not a floating-point tensor.

    Example:
        >>> t = torch.arange(-20.0, 21.0)
        >>> disc = 10 - torch.hypot(t[:, None], t)
        >>> curvature(disc)[20, 30]  # on the contour
        tensor(-0.1007)
    """
    steps = read_spacing(spacing)
    lead("phi", phi, len(steps))
    check_floating(phi=phi)
    if not check_number("eta", eta) >= MINIMUM_ETA:
        raise ValueError(f"eta must be at least {MINIMUM_ETA:g}, but is {eta}")
    values = flat(phi, len(steps)).to(accumulation_dtype(phi))  # squares overflow in half precision
    if max(values.shape[1:], default=0) == 1 or values.numel() == 0:
        return (0 * values).view(phi.shape)  # a pixel has no neighbours
    return curvature_of_maps(values, eta, steps).view(phi.shape)


def curvature_of_maps(phi: Tensor, eta: float, steps: tuple[float, ...] = (1.0, 1.0)) -> Tensor:
    """The curvature of (M, H, W) or (M, D, H, W), float32 or float64, unchecked."""
    phi, eta_there = _limited(phi, eta)
    if steps != (1.0, 1.0) or (phi.requires_grad and torch.is_grad_enabled()):
        slopes, scale = _slopes(phi, eta_there, steps)
        return reduce(
            torch.add, (_derivative(slope * scale, k, steps) for k, slope in enumerate(slopes))
        )
    # Padding between the two filters would give an affine function a curvature.
    along_x, along_y, scale = _gradient(phi, eta_there)
    return (_sobel_x(along_x * scale) + _sobel_y(along_y * scale)) / 8


def _limited(phi: Tensor, eta: float) -> tuple[Tensor, Tensor]:
    """phi scaled to at most ``_LARGEST``, and eta scaled likewise: the curvature is the same."""
    limit = _LARGEST[phi.dtype]
    size = phi.detach().abs().amax(tuple(range(1, phi.ndim)), keepdim=True)
    scale = limit / size.clamp(min=limit)
    return phi * scale, (eta * scale * scale).clamp(min=MINIMUM_ETA)


def _gradient(phi: Tensor, eta: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """8 times the gradient (x, y), and the factor that normalises it, all (M, H+2, W+2)."""
    padded = F.pad(phi[:, None], (2, 2, 2, 2), mode="replicate")[:, 0]
    along_x, along_y = _sobel_x(padded), _sobel_y(padded)
    square = torch.addcmul(along_x * along_x, along_y, along_y)
    return along_x, along_y, torch.rsqrt(square + 64 * eta)


def _slopes(phi: Tensor, eta: Tensor, steps: tuple[float, ...]) -> tuple[list[Tensor], Tensor]:
    """The gradient along each axis, and the factor that normalises it, one pixel wider."""
    slopes = []
    for along, step in enumerate(steps):
        slope = _difference(phi, along + 1) / (2 * step)
        for k in range(len(steps)):
            if k != along:
                slope = _smooth(_repeat_border(slope, k + 1), k + 1)
        slopes.append(slope)
    return slopes, torch.rsqrt(reduce(torch.add, (slope.square() for slope in slopes)) + eta)


def _difference(maps: Tensor, axis: int) -> Tensor:
    """x[i + 1] - x[i - 1] for i = -1 .. n, where x keeps its border values.

    Differences of a pixel with itself are constants: their gradients, which are large where phi is
    flat, would not cancel exactly.
    """
    size = maps.shape[axis]
    nothing = torch.zeros_like(maps.narrow(axis, 0, 1))
    if size == 1:
        return torch.cat([nothing] * 3, axis)
    first = maps.narrow(axis, 1, 1) - maps.narrow(axis, 0, 1)
    last = maps.narrow(axis, size - 1, 1) - maps.narrow(axis, size - 2, 1)
    inner = maps.narrow(axis, 2, size - 2) - maps.narrow(axis, 0, size - 2)
    return torch.cat([nothing, first, inner, last, nothing], axis)


def _repeat_border(maps: Tensor, axis: int) -> Tensor:
    first, last = maps.narrow(axis, 0, 1), maps.narrow(axis, maps.shape[axis] - 1, 1)
    return torch.cat([first, first, maps, last, last], axis)


def _smooth(maps: Tensor, axis: int) -> Tensor:
    size = maps.shape[axis] - 2
    before, middle, after = (maps.narrow(axis, start, size) for start in range(3))
    return (before + after) / 4 + middle / 2


def _derivative(maps: Tensor, along: int, steps: tuple[float, ...]) -> Tensor:
    """The Sobel filter along an axis, on the inner pixels or voxels."""
    for k, step in enumerate(steps):
        if k != along:
            maps = _smooth(maps, k + 1)
            continue
        size = maps.shape[k + 1] - 2
        maps = (maps.narrow(k + 1, 2, size) - maps.narrow(k + 1, 0, size)) / (2 * step)
    return maps


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


def curvature_adjoint(
    phi: Tensor, grad: Tensor, eta: float = 1e-4, steps: tuple[float, ...] = (1.0, 1.0)
) -> Tensor:
    """Gradient of the sum of ``curvature_of_maps(phi, eta, steps) * grad`` by phi."""
    if phi.numel() == 0:
        return torch.zeros_like(phi)
    given = phi
    phi, eta_there = _limited(phi, eta)
    if steps != (1.0, 1.0):
        back = _slopes_adjoint(phi, grad, eta_there, steps)
    else:
        back = _sobel_slopes_adjoint(phi, grad, eta_there)
    limit = _LARGEST[given.dtype]
    size = given.abs().amax(tuple(range(1, given.ndim)), keepdim=True)
    return back * (limit / size.clamp(min=limit))


def _sobel_slopes_adjoint(phi: Tensor, grad: Tensor, eta: Tensor) -> Tensor:
    along_x, along_y, scale = _gradient(phi, eta)
    grad = F.pad(grad, (2, 2, 2, 2))
    # A Sobel filter is odd, so it is minus its own adjoint; its 1 / 8 cancels in the gradient.
    back_x, back_y = _sobel_x(grad), _sobel_y(grad)
    radial = (along_x * back_x + along_y * back_y) * scale.square()
    back_x = (along_x * radial - back_x) * scale
    back_y = (along_y * radial - back_y) * scale
    return (_sobel_x_adjoint(back_x) + _sobel_x_adjoint(back_y.mT).mT) / 8


def _slopes_adjoint(phi: Tensor, grad: Tensor, eta: Tensor, steps: tuple[float, ...]) -> Tensor:
    slopes, scale = _slopes(phi, eta, steps)
    wide = (2, 2) * len(steps)
    # A Sobel filter is odd, so it is minus its own adjoint.
    backs = [-_derivative(F.pad(grad, wide), k, steps) for k in range(len(steps))]
    radial = sum(s * b for s, b in zip(slopes, backs, strict=True)) * scale.square()
    total = torch.zeros_like(phi)
    for along, (slope, back, step) in enumerate(zip(slopes, backs, steps, strict=True)):
        flow = (back - slope * radial) * scale / (2 * step)
        for k in range(len(steps)):
            if k != along:
                flow = _fold(_smooth(F.pad(flow, _both_sides(k, len(steps))), k + 1), k + 1)
        total += _difference_adjoint(flow, along + 1)
    return total


def _both_sides(axis: int, dims: int) -> tuple[int, ...]:
    """Padding of F.pad by two on both sides of an axis."""
    return tuple(2 if k == dims - 1 - axis else 0 for k in range(dims) for _ in range(2))


def _fold(maps: Tensor, axis: int) -> Tensor:
    """Adjoint of ``_repeat_border``."""
    size = maps.shape[axis] - 4
    if size == 1:
        return maps.sum(axis, keepdim=True)
    first, middle, last = maps.split([3, size - 2, 3], axis)
    return torch.cat([first.sum(axis, keepdim=True), middle, last.sum(axis, keepdim=True)], axis)


def _difference_adjoint(frame: Tensor, axis: int) -> Tensor:
    size = frame.shape[axis] - 2
    if size == 1:
        return torch.zeros_like(frame.narrow(axis, 0, 1))
    result = frame.narrow(axis, 0, size) - frame.narrow(axis, 2, size)
    first, last = result.narrow(axis, 0, 1), result.narrow(axis, size - 1, 1)
    first.copy_(-frame.narrow(axis, 1, 1) - frame.narrow(axis, 2, 1))
    last.copy_(frame.narrow(axis, size, 1) + frame.narrow(axis, size - 1, 1))
    return result


def _sobel_x_adjoint(frame: Tensor) -> Tensor:
    """Adjoint of repeating the border twice, then ``_sobel_x``: (M, H+2, W+2) -> (M, H, W).

    A repeated pixel adds its gradient to the border pixel that it copies. So at the first pixel the
    filter [-1, 0, 1] becomes [0, 1, 1], and [1, 2, 1] becomes [4, 3, 1].
    """
    difference = frame[:, :, :-2] - frame[:, :, 2:]
    # The outermost values, which may be large, cancel: they are differences of a pixel with itself.
    difference[:, :, 0] = -frame[:, :, 1] - frame[:, :, 2]
    difference[:, :, -1] = frame[:, :, -2] + frame[:, :, -3]
    if difference.shape[2] == 1:
        difference.zero_()
    smooth = difference[:, :-2] + 2 * difference[:, 1:-1] + difference[:, 2:]
    smooth[:, 0] += 3 * difference[:, 0] + difference[:, 1]
    smooth[:, -1] += 3 * difference[:, -1] + difference[:, -2]
    return smooth


@takes_arrays
def contour_length(inside: Tensor, isotropic: bool = False) -> Tensor:
    r"""Length of the contour of a soft indicator: its total variation :math:`\sum |d_x| + |d_y|`.

    :math:`d_x, d_y` are forward differences, as in BoxLevelSet.

    Args:
        inside: Indicators (..., H, W) in [0, 1], floating point, e.g. ``heaviside(phi)``; a tensor
            or a NumPy array.
        isotropic: Sum :math:`\sqrt{d_x^2 + d_y^2}` instead, which is closer to the Euclidean length
            of slanted contours.

    Returns:
        Lengths (...) in pixels; float32, or float64 if ``inside`` is float64. The border of the
        image is not part of a contour.

    Raises:
        ValueError: ``inside`` has not the shape (..., H, W).
        TypeError: ``inside`` is not a floating-point tensor.

    Example:
        >>> inside = torch.zeros(1, 9, 8)
        >>> inside[:, 2:6, 3:7] = 1
        >>> contour_length(inside)
        tensor([16.])
    """
    lead("inside", inside, 2)
    check_floating(inside=inside)
    inside = inside.to(accumulation_dtype(inside))
    dx, dy = inside.diff(dim=-1), inside.diff(dim=-2)
    if not isotropic:
        return dx.abs().sum((-2, -1)) + dy.abs().sum((-2, -1))
    dx, dy = F.pad(dx, (0, 1)), F.pad(dy, (0, 0, 0, 1))
    slanted = (dx != 0) | (dy != 0)  # the root has no derivative at zero
    length = torch.hypot(torch.where(slanted, dx, 1.0), dy)  # squares would underflow
    return torch.where(slanted, length, 0.0).sum((-2, -1))
