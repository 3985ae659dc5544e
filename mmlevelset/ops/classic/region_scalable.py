"""Region-scalable fitting: a region-based active contour for uneven light."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from mmlevelset.ops.checks import check_real
from mmlevelset.ops.classic.descent import descend_regions, gaussian_matrix
from mmlevelset.ops.classic.images import (
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
def region_scalable_fitting(
    image: Array,
    mu: float = 1.0,
    nu: float = 0.001 * 255**2,
    lambda1: float = 1.0,
    lambda2: float = 1.0,
    epsilon: float = 1.0,
    sigma: float = 3.0,
    tol: float = 1e-4,
    max_num_iter: int = 500,
    dt: float = 0.1,
    init_level_set: str | Array = "small disk",
    extended_output: bool = False,
    *,
    channel_axis: int | None = None,
    truncate: float = 2.0,
) -> Any:
    r"""Region-based segmentation in uneven light by region-scalable fitting (RSF).

    Gradient descent on the energy of Li, Kao, Gore and Ding (IEEE Trans. Image Processing 17(10),
    2008)

    .. math::
        E = \sum_x \sum_y K_\sigma(x - y) \left( \lambda_1 H(\phi(y)) |I(y) - f_1(x)|^2
        + \lambda_2 (1 - H(\phi(y))) |I(y) - f_2(x)|^2 \right)
        + \nu \sum \delta(\phi) |\nabla\phi| + \tfrac{\mu}{2} \sum (|\nabla\phi| - 1)^2

    where :math:`f_1(x), f_2(x)` are the means of the image inside and outside, weighted by the
    Gaussian window at x. Each pixel is compared with its neighbourhood, not with the whole image as
    in :func:`chan_vese`, so slow changes of brightness do not matter. But the result depends more
    on the initial contour. phi is positive inside.

    Args:
        image: Array or tensor (H, W), (C, H, W) or (B, C, H, W) of any real type; it is scaled to
            [0, 255] (see the note). Squared differences are averaged over channels.
        mu: Weight of the distance regularization, non-negative; mu dt < 1/4.
        nu: Weight of the length, non-negative.
        lambda1: Weight of the inside, non-negative.
        lambda2: Weight of the outside, non-negative.
        epsilon: Width of the Heaviside function (``arctan``), positive, in the units of phi.
        sigma: Standard deviation of the window, positive, in pixels. A small window follows
            details, a large window takes in more of the surroundings.
        tol: An image is finished when its contour sweeps at most this share of the image's area per
            iteration, on average over ten iterations; non-negative.
        max_num_iter: Largest number of iterations.
        dt: Time step, positive.
        init_level_set: A name: ``box`` (all but a margin of a tenth on each side), ``disk`` (as
            wide as the shorter side of the image), ``small disk`` (half as wide) or
            ``checkerboard`` (fields of 5 x 5 pixels). Or an array or a tensor (H, W), for a batch
            also (B, H, W): a mask of the inside (bool) or a level set (floating point, positive
            inside). A name or a mask becomes phi = +-2, as in the paper.
        extended_output: Also return phi and the energies.
        channel_axis: The axis of the channels, as in scikit-image; default: they come first. It
            must be given for a photo (H, W, 3) and for more than seven channels.
        truncate: Radius of the window in standard deviations, positive.

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
        >>> mask = region_scalable_fitting(disc + 0.02 * x)  # brightens to the right
        >>> bool((mask & disc).sum() > 0.95 * (mask | disc).sum())
        True
    """
    check_loop(tol, max_num_iter, mu, dt)
    check_real("nu", nu, least=0)
    check_real("lambda1", lambda1, least=0)
    check_real("lambda2", lambda2, least=0)
    check_real("epsilon", epsilon, above=0)
    check_real("sigma", sigma, above=0)
    check_real("truncate", truncate, above=0)
    given = read_image(image, channel_axis)
    phi = initial_level_set(init_level_set, given)
    with full_precision(phi.device):
        fit = LocalFit(given.values, sigma, truncate, lambda1, lambda2)
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


class LocalFit:
    """The local means of an image, and the error of the image against them."""

    def __init__(
        self, values: Tensor, sigma: float, truncate: float, lambda1: float, lambda2: float
    ) -> None:
        height, width = values.shape[2:]
        self.values = values
        self.rows = gaussian_matrix(height, sigma, truncate, "zero", values)
        self.columns = gaussian_matrix(width, sigma, truncate, "zero", values)
        self.lambda1, self.lambda2 = lambda1, lambda2
        self.ones = self._blur(torch.ones_like(values[:1, 0]))

    def derivative(self, phi: Tensor, epsilon: float) -> Tensor:
        """lambda1 e_1 - lambda2 e_2 (B, H, W), the energy's derivative by the Heaviside function.

        The local means are optimal for phi, so their own change adds nothing to the derivative.
        """
        first, second, _ = self._means(phi, epsilon)
        linear = self.lambda1 * first - self.lambda2 * second
        squares = self.lambda1 * first.square() - self.lambda2 * second.square()
        linear, squares = self._blur(torch.stack([linear, squares]))
        constant = (self.lambda1 - self.lambda2) * self.ones[:, None] * self.values.square()
        return (constant - 2 * self.values * linear + squares).mean(1)

    def energy(self, phi: Tensor, epsilon: float) -> Tensor:
        """The first two terms of E (B,)."""
        first, second, weights = self._means(phi, epsilon)
        total = torch.zeros_like(phi)
        for weight, mean, scale in zip(
            weights, (first, second), (self.lambda1, self.lambda2), strict=True
        ):
            linear, squares = self._blur(torch.stack([mean, mean.square()]))
            error = self.ones[:, None] * self.values.square() - 2 * self.values * linear + squares
            total += scale * weight * error.mean(1)
        return total.sum((1, 2))

    def _means(self, phi: Tensor, epsilon: float) -> tuple[Tensor, Tensor, Tensor]:
        """f_1 and f_2 (B, C, H, W), and H and 1 - H (2, B, H, W)."""
        # H(-phi), not 1 - H: it never rounds to zero.
        weights = torch.stack([heaviside(phi, epsilon), heaviside(-phi, epsilon)])
        areas = self._blur(weights)
        first, second = self._blur(weights[:, :, None] * self.values) / areas[:, :, None]
        return first, second, weights

    def _blur(self, maps: Tensor) -> Tensor:
        """Filter maps (..., H, W) with the window; pixels outside the image have no weight."""
        return self.rows @ maps @ self.columns
