"""Region statistics of the Chan-Vese model: means inside and outside, and the energy."""

import torch
from torch import Tensor

from mmlevelset.ops.checks import (
    accumulation_dtype,
    check_floating,
    check_same_device,
    check_shape,
)

MINIMUM_AREA = 1e-5
"""Areas are clamped below by this, in pixels: empty regions have finite means."""


def region_means(
    features: Tensor, inside: Tensor, domain: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    r"""Mean feature inside and outside (Chan and Vese 2001; LevelSet R-CNN eq. 9).

    :math:`c_1 = \sum B H F / \sum B H` and :math:`c_2 = \sum B (1-H) F / \sum B (1-H)`.

    Args:
        features: F, (M, C, H, W), or (C, H, W) shared by all regions; floating point.
        inside: H, soft indicators (M, H, W) in [0, 1], floating point.
        domain: B, non-negative weights (M, H, W), e.g. a box per region; default: all ones.

    Returns:
        c1 and c2, each (M, C), float32 (float64 if an argument is). Areas are clamped below at
        ``MINIMUM_AREA``; where the clamp acts, the mean of an empty region is 0 and no gradient
        flows through its area.
    """
    features, weights = _prepare(features, inside, domain)
    with torch.autocast(features.device.type, enabled=False):
        sums = _weighted_sums(features, weights)
        areas = weights.sum(2, keepdim=True).clamp(min=MINIMUM_AREA)
        first, second = (sums / areas).unbind(1)
    return first, second


def region_energy(
    features: Tensor,
    inside: Tensor,
    domain: Tensor | None = None,
    lambda1: float | Tensor = 1.0,
    lambda2: float | Tensor = 1.0,
) -> Tensor:
    r"""Chan-Vese region energy (LevelSet R-CNN eq. 6, without the length).

    :math:`E = \sum B (\lambda_1 H \|F-c_1\|^2 + \lambda_2 (1-H) \|F-c_2\|^2)`, summed over channels
    and pixels, with the optimal means. Computed by one matrix product from
    :math:`\sum B H F` and :math:`\sum B H \|F\|^2`, on features centred per channel, so that
    nothing of size (M, C, H, W) is formed when all regions share their features.

    Args:
        features: F, (M, C, H, W), or (C, H, W) shared by all regions; floating point.
        inside: H, soft indicators (M, H, W) in [0, 1], floating point.
        domain: B, non-negative weights (M, H, W); default: all ones.
        lambda1: Weight of the inside, a number or (M,).
        lambda2: Weight of the outside, a number or (M,).

    Returns:
        Energies (M,), float32 (float64 if an argument is). Gradients reach features, inside,
        domain and the weights.
    """
    features, weights = _prepare(features, inside, domain)
    with torch.autocast(features.device.type, enabled=False):
        # Adding a constant to F changes nothing, so the centre needs no gradient.
        features = features - features.detach().mean((-2, -1), keepdim=True)
        channels = features.shape[-3]
        squares = features.square().sum(-3, keepdim=True)
        sums = _weighted_sums(torch.cat([features, squares], -3), weights)
        areas = weights.sum(2).clamp(min=MINIMUM_AREA)
        energy = sums[..., channels] - sums[..., :channels].square().sum(2) / areas
    return lambda1 * energy[:, 0] + lambda2 * energy[:, 1]


def _prepare(features: Tensor, inside: Tensor, domain: Tensor | None) -> tuple[Tensor, Tensor]:
    """Features in the accumulation dtype, and the weights (M, 2, H*W) of inside and outside."""
    check_shape("inside", inside, ("M", "H", "W"))
    count, height, width = inside.shape
    if isinstance(features, Tensor) and features.ndim == 3:
        check_shape("features", features, ("C", height, width))
    else:
        check_shape("features", features, (count, "C", height, width))
    if domain is not None:
        check_shape("domain", domain, (count, height, width))
    check_floating(features=features, inside=inside, domain=domain)
    check_same_device(features=features, inside=inside, domain=domain)
    dtype = accumulation_dtype(features, inside, *([] if domain is None else [domain]))
    inside = inside.to(dtype)
    weights = torch.stack([inside, 1 - inside], 1)
    if domain is not None:
        weights = weights * domain.to(dtype)[:, None]
    return features.to(dtype), weights.flatten(2)


def _weighted_sums(features: Tensor, weights: Tensor) -> Tensor:
    """Sums over pixels (M, 2, C) of features (M, C, H, W) or (C, H, W) under weights (M, 2, P)."""
    return weights @ features.flatten(-2).transpose(-2, -1)
