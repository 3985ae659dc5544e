"""L2S: a region-based active contour that models each region by Legendre polynomials."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from mmlevelset.ops.checks import check_real
from mmlevelset.ops.classic.descent import descend_regions
from mmlevelset.ops.classic.images import (
    check_count,
    check_loop,
    give_result,
    initial_level_set,
    read_image,
)
from mmlevelset.ops.functions import heaviside
from mmlevelset.ops.precision import full_precision

if TYPE_CHECKING:
    from mmlevelset.ops.classic.images import Array


@torch.no_grad()
def legendre_level_set(
    image: Array,
    order: int = 1,
    mu: float = 1.0,
    nu: float = 0.001 * 255**2,
    lambda1: float = 1.0,
    lambda2: float = 1.0,
    epsilon: float = 1.0,
    tol: float = 1e-4,
    max_num_iter: int = 500,
    dt: float = 0.1,
    init_level_set: str | Array = "disk",
    extended_output: bool = False,
    *,
    channel_axis: int | None = None,
) -> Any:
    r"""Region-based segmentation in uneven light by Legendre level sets (L2S).

    Gradient descent on the energy of Mukherjee and Acton (IEEE Signal Processing Letters 22(3),
    2015)

    .. math::
        E = \sum H(\phi) |I - A^\top P|^2 + \lambda_1 \|A\|^2
        + \sum (1 - H(\phi)) |I - B^\top P|^2 + \lambda_2 \|B\|^2
        + \nu \sum \delta(\phi) |\nabla\phi| + \tfrac{\mu}{2} \sum (|\nabla\phi| - 1)^2

    where P are the products P_i(x) P_j(y) of Legendre polynomials, i, j = 0, ..., order, on the
    image scaled to [-1, 1] x [-1, 1]. In each iteration A and B solve the two regularised
    least-squares problems. Order 0 is the model of :func:`chan_vese`. phi is positive inside.

    The paper re-initialises phi to a distance. Here the distance term keeps phi a distance, as in
    :func:`region_scalable_fitting`, with the same nu, mu, dt and scale of intensities.

    Args:
        image: Array or tensor (H, W), (C, H, W) or (B, C, H, W) of any real type; it is scaled to
            [0, 255] (see the note). Each channel has its own polynomials; squared differences are
            averaged over channels.
        order: Highest degree along each axis (m in the paper), 0 or more. 1 suits a linear change
            of brightness, 2 a curved change.
        mu: Weight of the distance regularization, non-negative; mu dt < 1/4.
        nu: Weight of the length, non-negative.
        lambda1: Ridge weight of the inside's coefficients, positive, in pixels. It has little
            effect on a region with many more pixels.
        lambda2: Ridge weight of the outside's coefficients, as lambda1.
        epsilon: Width of the Heaviside function (``arctan``), positive, in the units of phi.
        tol: An image is finished when its contour sweeps at most this share of the image's area per
            iteration, on average over ten iterations; non-negative.
        max_num_iter: Largest number of iterations.
        dt: Time step, positive.
        init_level_set: A name: ``box`` (all but a margin of a tenth on each side), ``disk`` (as
            wide as the shorter side of the image), ``small disk`` (half as wide) or
            ``checkerboard`` (fields of 5 x 5 pixels). Or an array or a tensor (H, W), for a batch
            also (B, H, W): a mask of the inside (bool) or a level set (floating point, positive
            inside). A name or a mask becomes phi = +-2.
        extended_output: Also return phi and the energies.
        channel_axis: The axis of the channels, as in scikit-image; default: they come first. It
            must be given for a photo (H, W, 3) and for more than seven channels.

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
        Each image is scaled by its smallest and largest value over all channels.

    Example:
        >>> import numpy as np
        >>> y, x = np.mgrid[:60, :60]
        >>> disc = (x - 30) ** 2 + (y - 30) ** 2 < 15**2
        >>> mask = legendre_level_set(disc + 0.03 * x)  # brightens to the right
        >>> bool((mask & disc).sum() > 0.95 * (mask | disc).sum())
        True
    """
    check_loop(tol, max_num_iter, mu, dt)
    check_count("order", order)
    check_real("nu", nu, least=0)
    check_real("lambda1", lambda1, above=0)
    check_real("lambda2", lambda2, above=0)
    check_real("epsilon", epsilon, above=0)
    given = read_image(image, channel_axis)
    phi = initial_level_set(init_level_set, given)
    with full_precision(phi.device):
        fit = PolynomialFit(given.values, order, lambda1, lambda2)
        phi, energies = descend_regions(
            phi,
            fit,
            mu=mu,
            nu=nu,
            epsilon=epsilon,
            dt=dt,
            tol=tol,
            max_num_iter=max_num_iter,
            with_energies=extended_output,
        )
    return give_result(given, phi, energies, extended_output)


class PolynomialFit:
    """The least-squares polynomials of the two regions, and the error of the image against them.

    Each basis function is a product of a polynomial in y and a polynomial in x. So all sums over
    pixels are products with matrices of a few rows, and no basis image is made.
    """

    def __init__(self, values: Tensor, order: int, lambda1: float, lambda2: float) -> None:
        self.values = values
        self.terms = order + 1
        self.y, self.x = (legendre_polynomials(size, order, values) for size in values.shape[2:])
        self.y_pairs, self.x_pairs = (
            (basis[:, None] * basis).flatten(0, 1) for basis in (self.y, self.x)
        )
        ridge = torch.tensor([lambda1, lambda2], dtype=torch.float64, device=values.device)
        identity = torch.eye(self.terms**2, dtype=torch.float64, device=values.device)
        self.ridge = ridge.view(2, 1, 1, 1) * identity

    def derivative(self, phi: Tensor, epsilon: float) -> Tensor:
        """e_1 - e_2 (B, H, W), the energy's derivative by the Heaviside function.

        The polynomials are optimal for phi, so their own change adds nothing to the derivative.
        """
        (first, second), _, _ = self._errors(phi, epsilon)
        return first - second

    def energy(self, phi: Tensor, epsilon: float) -> Tensor:
        """The first four terms of E (B,)."""
        errors, weights, coefficients = self._errors(phi, epsilon)
        quadratic = (coefficients * (self.ridge @ coefficients)).sum(2).mean(2)
        return ((weights * errors).sum((2, 3)) + quadratic).sum(0).to(phi.dtype)

    def _errors(self, phi: Tensor, epsilon: float) -> tuple[Tensor, Tensor, Tensor]:
        """e_1 and e_2, H and 1 - H, all (2, B, H, W), and the coefficients (2, B, K, C)."""
        weights = torch.stack([heaviside(phi, epsilon), heaviside(-phi, epsilon)])
        n = self.terms
        gram = (self.y_pairs @ weights @ self.x_pairs.T).unflatten(3, (n, n)).unflatten(2, (n, n))
        gram = gram.transpose(3, 4).flatten(4, 5).flatten(2, 3)
        moments = (self.y @ (weights[:, :, None] * self.values) @ self.x.T).flatten(3)
        # float64, since small regions make ill-conditioned systems. solve_ex does not wait for a
        # GPU to check the matrix; the ridge keeps it positive definite.
        coefficients, _ = torch.linalg.solve_ex(
            gram.double() + self.ridge, moments.transpose(2, 3).double()
        )
        shaped = coefficients.to(phi.dtype).transpose(2, 3).unflatten(3, (n, n))
        errors = (self.values - self.y.T @ shaped @ self.x).square().mean(2)
        return errors, weights, coefficients


def legendre_polynomials(size: int, order: int, like: Tensor) -> Tensor:
    """P_0, ..., P_order at the centres of ``size`` pixels that cover [-1, 1]: (order + 1, size)."""
    x = (2 * torch.arange(size, device=like.device, dtype=torch.float64) + 1) / size - 1
    rows = [torch.ones_like(x), x]
    for n in range(1, order):
        rows.append(((2 * n + 1) * x * rows[n] - n * rows[n - 1]) / (n + 1))
    return torch.stack(rows[: order + 1]).to(like.dtype)
