"""Operators that ONNX lacks, in elementary PyTorch functions.

``evolve_chan_vese`` and ``region_means`` are operators of their own in a traced model. These
functions take their place there. They compute the same values without loops over regions, and need
more memory.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mmlevelset.ops import heaviside
from mmlevelset.ops.region import MINIMUM_AREA


def evolve(
    phi0: Tensor,
    features: Tensor,
    lambda1: Tensor,
    lambda2: Tensor,
    mu: Tensor,
    eps: Tensor,
    dt: Tensor,
    eta: float,
    printed_delta: bool,
    backend: str,
    spacing: list[float],
) -> tuple[Tensor, Tensor, Tensor]:
    """phi_0..phi_N (M, N+1, H, W), means (M, N, 2, C) and areas (M, N, 2) of an evolution."""
    if any(side != 1 for side in spacing):
        raise NotImplementedError("a traced model has evolutions in images with a spacing of 1")
    features = features.to(phi0.dtype).flatten(2)
    features = features - features.mean(2, keepdim=True)
    squares = features.square().sum(1)
    phi, trajectory, all_means, all_areas = phi0, [phi0], [], []
    for n in range(eps.shape[1]):
        width = eps[:, n, None, None]
        inside = heaviside(phi, width)
        weights = torch.stack([inside, 1 - inside], 1).flatten(2)
        areas = weights.sum(2)
        means = weights @ features.mT / areas.clamp(min=MINIMUM_AREA)[..., None]
        first, second = means.unbind(1)
        direction = lambda1[:, None] * first - lambda2[:, None] * second
        constant = lambda2 * second.square().sum(1) - lambda1 * first.square().sum(1)
        data = 2 * (direction[:, None] @ features)[:, 0] + constant[:, None]
        data = data + (lambda2 - lambda1)[:, None] * squares
        force = data.view_as(phi) + mu[:, None, None] * _curvature(phi, eta)
        speed = width.square() if printed_delta else width
        speed = dt[:, n, None, None] * speed / math.pi / (width.square() + phi.square())
        phi = phi + speed * force
        trajectory.append(phi)
        all_means.append(means)
        all_areas.append(areas)
    if not all_means:
        count, channels = features.shape[:2]
        return phi0[:, None], phi0.new_empty(count, 0, 2, channels), phi0.new_empty(count, 0, 2)
    return torch.stack(trajectory, 1), torch.stack(all_means, 1), torch.stack(all_areas, 1)


def _curvature(phi: Tensor, eta: float) -> Tensor:
    """:func:`mmlevelset.ops.curvature` without operations in place, which a trace cannot have."""
    padded = F.pad(phi[:, None], (2, 2, 2, 2), mode="replicate")[:, 0]
    along_x, along_y = _sobel(padded), _sobel(padded.mT).mT
    scale = torch.rsqrt(along_x.square() + along_y.square() + 64 * eta)
    return (_sobel(along_x * scale) + _sobel((along_y * scale).mT).mT) / 8


def _sobel(maps: Tensor) -> Tensor:
    difference = maps[:, :, 2:] - maps[:, :, :-2]
    return difference[:, :-2] + 2 * difference[:, 1:-1] + difference[:, 2:]


def region_sums(
    features: Tensor,
    inside: Tensor,
    domain: Tensor | None,
    centre: Tensor | None,
    squares: bool,
) -> Tensor:
    """Sums of F and 1 over the inside and the outside (M, 2, C+1), float64, of own features."""
    if domain is not None or centre is not None or squares or features.ndim != 4:
        raise NotImplementedError("a traced model has region_means of own features alone")
    share = inside.double().flatten(1)
    weights = torch.stack([share, 1 - share], 1)
    return torch.cat([weights @ features.double().flatten(2).mT, weights.sum(2, keepdim=True)], 2)


def decompositions() -> dict[Any, Callable]:
    """Return the functions by the operators whose places they take."""
    return {
        torch.ops.mmlevelset.evolve_chan_vese.default: evolve,
        torch.ops.mmlevelset.region_sums.default: region_sums,
        torch.ops.aten.hypot.default: lambda x, y: (x.square() + y.square()).sqrt(),
    }
