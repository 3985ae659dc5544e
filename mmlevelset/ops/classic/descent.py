"""Gradient descent on level-set energies: the terms that the classic solvers share, and the loop.

Derivatives are central differences, and the Laplacian has five points. Nothing flows through the
image's border: beyond it ``phi`` keeps its value, and a flux is mirrored with the opposite sign. So
``divergence`` is minus the adjoint of ``gradient``, and ``distance_force`` is exactly minus the
derivative of ``distance_energy``.
"""

import math
from collections.abc import Callable
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from mmlevelset.ops.functions import dirac

ETA = 1e-10
"""Added under the root of |grad phi|: flat regions have no direction."""

CHECK_EVERY = 10
"""Iterations between two checks of the tolerance; each check waits for the device."""


def gradient(phi: Tensor) -> tuple[Tensor, Tensor]:
    """Central differences along x and y of (B, H, W)."""
    padded = F.pad(phi[:, None], (1, 1, 1, 1), mode="replicate")[:, 0]
    along_x = (padded[:, 1:-1, 2:] - padded[:, 1:-1, :-2]) / 2
    along_y = (padded[:, 2:, 1:-1] - padded[:, :-2, 1:-1]) / 2
    return along_x, along_y


def divergence(along_x: Tensor, along_y: Tensor) -> Tensor:
    """Central differences of a flux that does not pass the border."""
    x = torch.cat([-along_x[:, :, :1], along_x, -along_x[:, :, -1:]], 2)
    y = torch.cat([-along_y[:, :1], along_y, -along_y[:, -1:]], 1)
    return (x[:, :, 2:] - x[:, :, :-2] + y[:, 2:] - y[:, :-2]) / 2


def laplacian(phi: Tensor) -> Tensor:
    """Sum of the four neighbours minus four times the pixel, of (B, H, W)."""
    padded = F.pad(phi[:, None], (1, 1, 1, 1), mode="replicate")[:, 0]
    sides = padded[:, 1:-1, 2:] + padded[:, 1:-1, :-2] + padded[:, 2:, 1:-1] + padded[:, :-2, 1:-1]
    return sides - 4 * phi


def slope(along_x: Tensor, along_y: Tensor) -> Tensor:
    """|grad phi|, never zero."""
    return (along_x.square() + along_y.square() + ETA).sqrt()


def distance_force(
    phi: Tensor, along_x: Tensor, along_y: Tensor, steepness: Tensor, potential: str
) -> Tensor:
    r"""Minus the derivative of :math:`\sum p(|\nabla\phi|)`: div(d_p(s) grad phi), d_p = p'(s)/s.

    It is computed as div((d_p - 1) grad phi) + Laplacian, because central differences of central
    differences do not connect neighbouring pixels.
    """
    factor = -1 / steepness
    if potential == "double-well":
        factor = torch.where(steepness <= 1, torch.sinc(2 * steepness) - 1, factor)
    return divergence(factor * along_x, factor * along_y) + laplacian(phi)


def distance_energy(phi: Tensor, steepness: Tensor, potential: str) -> Tensor:
    r"""The distance energy :math:`\sum p(|\nabla\phi|)` (B,) with p(s) = (s-1)^2 / 2.

    The double well has p(s) = (1 - cos(2 pi s)) / (2 pi)^2 for s <= 1. The term s^2 / 2 is taken
    from forward differences, which match the Laplacian of :func:`distance_force`.
    """
    excess = 0.5 - steepness
    if potential == "double-well":
        well = (1 - torch.cos(2 * math.pi * steepness)) / (2 * math.pi) ** 2
        excess = torch.where(steepness <= 1, well - steepness.square() / 2, excess)
    squares = phi.diff(dim=1).square().sum((1, 2)) + phi.diff(dim=2).square().sum((1, 2))
    return excess.sum((1, 2)) + squares / 2


def gaussian_matrix(size: int, sigma: float, truncate: float, border: str, like: Tensor) -> Tensor:
    """Banded matrix (size, size) that filters one axis of an image with a Gaussian.

    At the sizes of images, a product with the matrix is faster than a convolution of one channel on
    a CPU, and it is fast on a GPU.

    Args:
        size: Length of the axis.
        sigma: Standard deviation in pixels.
        truncate: Radius of the kernel in standard deviations; the kernel sums to one.
        border: ``zero`` outside the image, or ``replicate`` its outermost pixels.
        like: Gives device and dtype.
    """
    radius = max(1, int(truncate * sigma + 0.5))
    offset = torch.arange(-radius, radius + 1)
    kernel = torch.softmax(-offset.double().square() / (2 * sigma**2), 0)
    target = torch.arange(size)[:, None].expand(-1, len(offset))
    source = target + offset
    weights = kernel.expand_as(source)
    if border == "zero":
        weights = weights * ((source >= 0) & (source < size))
    matrix = torch.zeros(size, size, dtype=torch.float64)
    matrix.index_put_((target, source.clamp(0, size - 1)), weights, accumulate=True)
    return matrix.to(like)


def descend(
    phi: Tensor,
    step: Callable[[Tensor], Tensor],
    energy: Callable[[Tensor], Tensor] | None,
    tol: float,
    max_num_iter: int,
) -> tuple[Tensor, list[list[float]]]:
    """Repeat ``phi = step(phi)`` until each image's contour has come to rest.

    Every ``CHECK_EVERY`` iterations, an image is frozen if its contour has swept at most the share
    ``tol`` of the image's area per iteration. The swept area is half of the change of phi clipped
    to +-1, which is exact for a distance and for a step. Far from the contour phi may still move.

    Args:
        phi: Initial level sets (B, H, W).
        step: One iteration, (B, H, W) -> (B, H, W), each image by itself.
        energy: (B, H, W) -> (B,), recorded before each iteration; None: no energies.
        tol: Share of the image's area, non-negative.
        max_num_iter: Largest number of iterations.

    Returns:
        The final level sets (B, H, W), and for each image the list of the energies before its
        iterations (empty without ``energy``).
    """
    active = torch.ones(len(phi), dtype=torch.bool, device=phi.device)
    iterations = torch.zeros(len(phi), dtype=torch.long, device=phi.device)
    recorded = []
    before = phi.clamp(-1, 1)
    for iteration in range(1, max_num_iter + 1):
        if energy is not None:
            recorded.append(energy(phi))
        phi = torch.where(active[:, None, None], step(phi), phi)
        iterations += active
        if iteration % CHECK_EVERY == 0:
            now = phi.clamp(-1, 1)
            swept = (now - before).abs().mean((1, 2)) / 2
            active = swept > tol * CHECK_EVERY  # a frozen image sweeps nothing
            if not active.any():
                break
            before = now
    if not recorded:
        return phi, [[] for _ in phi]
    rows = torch.stack(recorded, 1).tolist()
    return phi, [row[:count] for row, count in zip(rows, iterations.tolist(), strict=True)]


class RegionFit(Protocol):
    """The error of a model of two regions; the model's parameters are optimal for phi."""

    def derivative(self, phi: Tensor, epsilon: float) -> Tensor:
        """Derivative (B, H, W) of the energy by the Heaviside function of phi."""

    def energy(self, phi: Tensor, epsilon: float) -> Tensor:
        """Energy (B,)."""


def descend_regions(
    phi: Tensor,
    fit: RegionFit,
    *,
    mu: float,
    nu: float,
    epsilon: float,
    dt: float,
    tol: float,
    max_num_iter: int,
    with_energies: bool,
) -> tuple[Tensor, list[list[float]]]:
    """Descend on the fit's energy plus nu times the length plus mu times the distance energy."""

    def step(phi: Tensor) -> Tensor:
        along_x, along_y = gradient(phi)
        steepness = slope(along_x, along_y)
        length = nu * divergence(along_x / steepness, along_y / steepness)
        region = dirac(phi, epsilon) * (length - fit.derivative(phi, epsilon))
        distance = distance_force(phi, along_x, along_y, steepness, "single-well")
        return phi + dt * (region + mu * distance)

    def energy(phi: Tensor) -> Tensor:
        steepness = slope(*gradient(phi))
        length = (dirac(phi, epsilon) * steepness).sum((1, 2))
        distance = distance_energy(phi, steepness, "single-well")
        return fit.energy(phi, epsilon) + nu * length + mu * distance

    return descend(phi, step, energy if with_energies else None, tol, max_num_iter)
