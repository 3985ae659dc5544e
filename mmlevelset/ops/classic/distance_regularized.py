"""Distance regularized level set evolution: an edge-based active contour."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from mmlevelset.ops.checks import check_real
from mmlevelset.ops.classic.descent import (
    descend,
    distance_energy,
    distance_force,
    divergence,
    gaussian_matrix,
    gradient,
    slope,
)
from mmlevelset.ops.classic.images import (
    check_loop,
    give_result,
    initial_level_set,
    read_image,
)
from mmlevelset.ops.precision import full_precision

if TYPE_CHECKING:
    from mmlevelset.ops.classic.images import Array

POTENTIALS = ("double-well", "single-well")


@torch.no_grad()
def drlse(
    image: Array,
    mu: float = 0.04,
    lambda_: float = 5.0,
    alpha: float = 1.5,
    epsilon: float = 1.5,
    sigma: float = 1.5,
    tol: float = 1e-5,
    max_num_iter: int = 1000,
    dt: float = 5.0,
    init_level_set: str | Array = "box",
    extended_output: bool = False,
    *,
    channel_axis: int | None = None,
    potential: str = "double-well",
) -> Any:
    r"""Edge-based segmentation by distance regularized level set evolution (DRLSE).

    Gradient descent on the energy of Li, Xu, Gui and Fox (IEEE Trans. Image Processing 19(12),
    2010)

    .. math::
        E = \mu \sum p(|\nabla\phi|) + \lambda \sum g\, \delta_\varepsilon(\phi) |\nabla\phi|
        + \alpha \sum g\, H_\varepsilon(\phi), \qquad
        g = \frac{1}{1 + |\nabla G_\sigma * I|^2}

    The length, weighted by g, draws the contour to edges. The area moves the contour inwards
    (alpha > 0) or outwards (alpha < 0) until it meets edges. The double-well potential p keeps phi
    a signed distance beside the contour and flat far from it. phi is positive inside, as everywhere
    in this package. In the paper phi is negative inside, but alpha has the same effect.

    Args:
        image: Array or tensor (H, W), (C, H, W) or (B, C, H, W) of any real type; it is scaled to
            [0, 255] (see the note). Squared gradients are averaged over channels.
        mu: Weight of the distance regularization, non-negative; mu dt < 1/4.
        lambda_: Weight of the edge-weighted length (lambda in the paper), non-negative.
        alpha: Weight of the edge-weighted area. A positive weight shrinks the inside, a negative
            weight grows it; with zero, only edges near the contour move it.
        epsilon: Half width of the smoothed Dirac and Heaviside functions, positive, in the units of
            phi.
        sigma: Standard deviation of the Gaussian, positive, in pixels. The wider the edges, the
            further the length draws the contour into a small convex object; 0.8 suits images with
            little noise.
        tol: An image is finished when its contour sweeps at most this share of the image's area per
            iteration, on average over ten iterations; non-negative.
        max_num_iter: Largest number of iterations.
        dt: Time step, positive.
        init_level_set: A name: ``box`` (all but a margin of a tenth on each side), ``disk`` (as
            wide as the shorter side of the image), ``small disk`` (half as wide) or
            ``checkerboard`` (fields of 5 x 5 pixels). Or an array or a tensor (H, W), for a batch
            also (B, H, W): a mask of the inside (bool) or a level set (floating point, positive
            inside). A name or a mask becomes phi = +-2, as in the paper. The contour moves in one
            direction, so start around the object for alpha > 0, in it for alpha < 0.
        extended_output: Also return phi and the energies.
        channel_axis: The axis of the channels, as in scikit-image; default: they come first. It
            must be given for a photo (H, W, 3) and for more than seven channels.
        potential: ``double-well`` (eq. 16 of the paper) or ``single-well``,
            p(s) = (s - 1)^2 / 2, which keeps phi a distance everywhere.

    Returns:
        Mask of the inside, bool, (H, W) or for a batch (B, H, W): an array for an array, a tensor
        on the image's device for a tensor. With ``extended_output`` the tuple (mask, phi,
        energies). phi has the mask's shape; it is float32 for float16, bfloat16 and float32 images,
        float64 for all others. energies is the list of the energies before each iteration, for a
        batch a list of B lists.

    Raises:
        ValueError: A shape, a number or an option is wrong, or a value is not finite.
        TypeError: An argument has the wrong type.

    Note:
        Each image is scaled by its smallest and largest value over all channels, because the
        paper's settings are for eight-bit images.

    Example:
        >>> import numpy as np
        >>> y, x = np.mgrid[:60, :60]
        >>> disc = (x - 30) ** 2 + (y - 30) ** 2 < 15**2
        >>> mask, phi, energies = drlse(disc, sigma=0.8, extended_output=True)
        >>> bool((mask & disc).sum() > 0.95 * (mask | disc).sum())
        True
    """
    check_loop(tol, max_num_iter, mu, dt)
    check_real("lambda_", lambda_, least=0)
    check_real("alpha", alpha)
    check_real("epsilon", epsilon, above=0)
    check_real("sigma", sigma, above=0)
    if potential not in POTENTIALS:
        raise ValueError(f"potential must be 'double-well' or 'single-well', but is {potential!r}")
    given = read_image(image, channel_axis)
    phi = initial_level_set(init_level_set, given)

    def step(phi: Tensor) -> Tensor:
        return phi + dt * force(phi, indicator, mu, lambda_, alpha, epsilon, potential)

    def energy(phi: Tensor) -> Tensor:
        return total_energy(phi, indicator, mu, lambda_, alpha, epsilon, potential)

    with full_precision(phi.device):
        indicator = edge_indicator(given.values, sigma)
        phi, energies = descend(phi, step, energy if extended_output else None, tol, max_num_iter)
    return give_result(given, phi, energies, extended_output)


def edge_indicator(values: Tensor, sigma: float) -> Tensor:
    """g = 1 / (1 + |grad G_sigma * I|^2) (B, H, W) of images (B, C, H, W)."""
    rows, columns = (
        gaussian_matrix(size, sigma, truncate=4.0, border="replicate", like=values)
        for size in values.shape[2:]
    )
    along_x, along_y = gradient((rows @ values @ columns.T).flatten(0, 1))
    squares = (along_x.square() + along_y.square()).view_as(values).mean(1)
    return 1 / (1 + squares)


def force(
    phi: Tensor,
    indicator: Tensor,
    mu: float,
    lambda_: float,
    alpha: float,
    epsilon: float,
    potential: str,
) -> Tensor:
    """Minus the functional derivative of the energy (eq. 30 of the paper, with phi > 0 inside)."""
    along_x, along_y = gradient(phi)
    steepness = slope(along_x, along_y)
    weight = indicator / steepness
    length = lambda_ * divergence(weight * along_x, weight * along_y)
    edges = _dirac(phi, epsilon) * (length - alpha * indicator)
    return edges + mu * distance_force(phi, along_x, along_y, steepness, potential)


def total_energy(
    phi: Tensor,
    indicator: Tensor,
    mu: float,
    lambda_: float,
    alpha: float,
    epsilon: float,
    potential: str,
) -> Tensor:
    """The energy E (B,)."""
    steepness = slope(*gradient(phi))
    length = (indicator * _dirac(phi, epsilon) * steepness).sum((1, 2))
    area = (indicator * _heaviside(phi, epsilon)).sum((1, 2))
    return mu * distance_energy(phi, steepness, potential) + lambda_ * length + alpha * area


def _dirac(phi: Tensor, epsilon: float) -> Tensor:
    near = phi.clamp(-epsilon, epsilon)
    return (1 + torch.cos(math.pi / epsilon * near)) / (2 * epsilon)


def _heaviside(phi: Tensor, epsilon: float) -> Tensor:
    near = phi.clamp(-epsilon, epsilon) / epsilon
    return (1 + near + torch.sin(math.pi * near) / math.pi) / 2
