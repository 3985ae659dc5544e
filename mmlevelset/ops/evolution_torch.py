"""The unrolled evolution and its gradients in plain PyTorch: any device, float32 or float64.

The features are centred, which keeps the expansion of ``|F - c|^2`` from cancelling. Neither the
result nor a gradient depends on the centre, unless an area is below its minimum. With
w = lambda1 c1 - lambda2 c2, the data term is

    -lambda1 |F-c1|^2 + lambda2 |F-c2|^2 = (lambda2 - lambda1) |F|^2 + 2 F.w + constant.

So a step reads the features in two matrix products and makes no other tensor of their size.
The backward pass has a closed form and needs only phi_0..phi_{N-1}, the means and the areas.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from mmlevelset.ops.geometry import curvature_adjoint, curvature_of_maps
from mmlevelset.ops.precision import full_precision
from mmlevelset.ops.region import MINIMUM_AREA

CHUNK_BYTES = 16 << 20
"""Largest size of the features that are processed together on a CPU; fits into the cache."""


def forward(
    phi0: Tensor,
    features: Tensor,
    lambda1: Tensor,
    lambda2: Tensor,
    mu: Tensor,
    eps: Tensor,
    dt: Tensor,
    eta: float,
    printed_delta: bool,
    spacing: Sequence[float] = (1.0, 1.0),
) -> tuple[Tensor, Tensor, Tensor]:
    """phi_0..phi_N (M, N+1, H, W), centred means (M, N, 2, C) and areas (M, N, 2)."""
    count, steps = eps.shape
    trajectory = phi0.new_empty(count, steps + 1, *phi0.shape[1:])
    means = phi0.new_empty(count, steps, 2, features.shape[1])
    areas = phi0.new_empty(count, steps, 2)
    inputs = (phi0, features, lambda1, lambda2, mu, eps, dt)
    size, buffer = _chunks(features, phi0.dtype)
    with full_precision(phi0.device):
        for start in range(0, count, size):
            chunk = slice(start, start + size)
            _forward(
                *(value[chunk] for value in inputs),
                eta=eta,
                printed_delta=printed_delta,
                spacing=tuple(spacing),
                buffer=buffer,
                out=(trajectory[chunk], means[chunk], areas[chunk]),
            )
    return trajectory, means, areas


def _forward(
    phi: Tensor,
    features: Tensor,
    lambda1: Tensor,
    lambda2: Tensor,
    mu: Tensor,
    eps: Tensor,
    dt: Tensor,
    *,
    eta: float,
    printed_delta: bool,
    spacing: tuple[float, ...],
    buffer: Tensor,
    out: tuple[Tensor, Tensor, Tensor],
) -> None:
    trajectory, means, areas = out
    grid = phi.shape
    features, squares = _centre(features, buffer)
    trajectory[:, 0] = phi
    phi = phi.flatten(1)
    for n in range(eps.shape[1]):
        width = eps[:, n, None]
        inside, outside = _shares(phi, width)
        weights = torch.stack([inside, outside], 1)
        areas[:, n] = weights.sum(2)
        means[:, n] = weights @ features.mT / _clamped(areas[:, n])[..., None]
        direction, constant = _data_term(means[:, n], lambda1, lambda2)
        force = torch.baddbmm(constant[:, None, None], direction[:, None], features, alpha=2)[:, 0]
        force = force.addcmul_((lambda2 - lambda1)[:, None], squares)
        force.addcmul_(mu[:, None], curvature_of_maps(phi.view(grid), eta, spacing).flatten(1))
        speed = width.square() if printed_delta else width
        speed = (dt[:, n, None] * speed / math.pi) / torch.addcmul(width.square(), phi, phi)
        phi = torch.addcmul(phi, speed, force)
        trajectory[:, n + 1] = phi.view(grid)


def backward(
    grad_trajectory: Tensor,
    trajectory: Tensor,
    features: Tensor,
    means: Tensor,
    areas: Tensor,
    lambda1: Tensor,
    lambda2: Tensor,
    mu: Tensor,
    eps: Tensor,
    dt: Tensor,
    eta: float,
    printed_delta: bool,
    spacing: Sequence[float] = (1.0, 1.0),
) -> tuple[Tensor, ...]:
    """Gradients of phi0, features, lambda1, lambda2, mu, eps and dt."""
    grads = tuple(
        torch.empty_like(value, memory_format=torch.contiguous_format)
        for value in (trajectory[:, 0], features, lambda1, lambda2, mu, eps, dt)
    )
    inputs = (grad_trajectory, trajectory, features, means, areas, lambda1, lambda2, mu, eps, dt)
    size, buffer = _chunks(features, trajectory.dtype)
    with full_precision(features.device):
        for start in range(0, len(features), size):
            chunk = slice(start, start + size)
            _backward(
                *(value[chunk] for value in inputs),
                eta=eta,
                printed_delta=printed_delta,
                spacing=tuple(spacing),
                buffer=buffer,
                out=tuple(grad[chunk] for grad in grads),
            )
    return grads


def _backward(
    grad_trajectory: Tensor,
    trajectory: Tensor,
    features: Tensor,
    means: Tensor,
    areas: Tensor,
    lambda1: Tensor,
    lambda2: Tensor,
    mu: Tensor,
    eps: Tensor,
    dt: Tensor,
    *,
    eta: float,
    printed_delta: bool,
    spacing: tuple[float, ...],
    buffer: Tensor,
    out: tuple[Tensor, ...],
) -> None:
    grad_phi0, grad_features, grad_lambda1, grad_lambda2, grad_mu, grad_eps, grad_dt = out
    steps, grid = eps.shape[1], trajectory[:, 0].shape
    features, squares = _centre(features, buffer)
    grad = grad_trajectory[:, steps].flatten(1)
    total_change = torch.zeros_like(squares)
    shift = features.new_zeros(features.shape[:2])
    maps, coefficients = [], []  # their product is the gradient of the features
    for value in (grad_lambda1, grad_lambda2, grad_mu):
        value.zero_()
    for n in reversed(range(steps)):
        phi, width = trajectory[:, n].flatten(1), eps[:, n, None]
        radius = torch.addcmul(width.square(), phi, phi)
        slope = width / (math.pi * radius)  # of the Heaviside function
        speed = slope * width if printed_delta else slope
        change = grad * dt[:, n, None] * speed

        # The gradient through the means: b1 and b2 are the gradients of c1 and c2.
        first, second = means[:, n].unbind(1)
        sum_change = change.sum(1)
        sum_features = (change[:, None] @ features.mT)[:, 0]
        sum_squares = torch.linalg.vecdot(change, squares)
        b1 = 2 * lambda1[:, None] * (sum_features - first * sum_change[:, None])
        b2 = -2 * lambda2[:, None] * (sum_features - second * sum_change[:, None])
        clamped = _clamped(areas[:, n])
        b1, b2 = b1 / clamped[:, :1], b2 / clamped[:, 1:]
        free = (areas[:, n] > MINIMUM_AREA).to(phi.dtype)  # a clamped area has no gradient
        offset = free[:, 1] * _dot(b2, second) - free[:, 0] * _dot(b1, first)
        direction, constant = _data_term(means[:, n], lambda1, lambda2)
        toward_mean, along = (torch.stack([b1 - b2, direction], 1) @ features).unbind(1)
        through_means = toward_mean + offset[:, None]

        kappa = curvature_of_maps(phi.view(grid), eta, spacing).flatten(1)
        data = (lambda2 - lambda1)[:, None] * squares + 2 * along + constant[:, None]
        force = mu[:, None] * kappa + data

        grad_lambda1 -= (
            sum_squares - 2 * _dot(first, sum_features) + sum_change * _dot(first, first)
        )
        grad_lambda2 += (
            sum_squares - 2 * _dot(second, sum_features) + sum_change * _dot(second, second)
        )
        grad_mu += (change * kappa).sum(1)
        grad_dt[:, n] = (grad * speed * force).sum(1)
        # Derivative of log(speed) with respect to the width. The speed is width^2 / (pi radius) if
        # printed, else width / (pi radius).
        ratio = (phi / radius) * (phi / width)
        relative = 2 * ratio if printed_delta else ratio - width / radius
        grad_width = change * force * relative - through_means * slope * phi / width
        grad_eps[:, n] = grad_width.sum(1)

        total_change += change
        maps += [change, _shares(phi, width)[0]]
        coefficients += [2 * direction, b1 - b2]
        grad = (
            grad_trajectory[:, n].flatten(1)
            + grad
            - 2 * change * force * phi / radius
            + _curvature_back(phi, mu[:, None] * change, eta, spacing, grid)
            + through_means * slope
        )
        shift += b2
    grad_phi0.copy_(grad.view(grid))
    maps.append(torch.ones_like(squares))
    same = grad_features.dtype == features.dtype
    result = grad_features.flatten(2) if same else features
    torch.mul(features, 2 * ((lambda2 - lambda1)[:, None] * total_change)[:, None], out=result)
    result.baddbmm_(torch.stack([*coefficients, shift], 2), torch.stack(maps, 1))
    if not same:
        grad_features.copy_(result.view_as(grad_features))


def _shares(phi: Tensor, width: Tensor) -> tuple[Tensor, Tensor]:
    """H(phi) and H(-phi); neither is 1 minus the other, which would round to zero."""
    small = torch.atan2(width, phi.abs()).div_(math.pi)
    large = 1 - small
    inside = phi > 0
    return torch.where(inside, large, small), torch.where(inside, small, large)


def _curvature_back(
    phi: Tensor, grad: Tensor, eta: float, spacing: tuple[float, ...], grid: tuple[int, ...]
) -> Tensor:
    return curvature_adjoint(phi.view(grid), grad.view(grid), eta, spacing).flatten(1)


def _chunks(features: Tensor, dtype: torch.dtype) -> tuple[int, Tensor]:
    """Number of regions in a chunk, and a buffer (regions, C, P) that all chunks use.

    A chunk holds all regions on a GPU; on a CPU it is small enough for the cache. A new buffer for
    each chunk would take longer to allocate than to fill.
    """
    count, channels = features.shape[:2]
    pixels = math.prod(features.shape[2:])
    size = max(1, count)
    if features.device.type == "cpu":
        bytes_each = max(1, channels * pixels * dtype.itemsize)
        size = min(size, max(1, CHUNK_BYTES // bytes_each))
    return size, features.new_empty(size, channels, pixels, dtype=dtype)


def _centre(features: Tensor, buffer: Tensor) -> tuple[Tensor, Tensor]:
    """Features less the mean of each channel (m, C, P), in the buffer; squared norms (m, P)."""
    features = features.flatten(2)
    centred = buffer[: len(features)]
    torch.sub(features, features.mean(2, keepdim=True, dtype=buffer.dtype), out=centred)
    if features.device.type != "cpu":
        return centred, centred.square().sum(1)
    # One region at a time, so that the product stays in the cache.
    squares, product = centred.new_empty(centred[:, 0].shape), torch.empty_like(centred[0])
    for one, square in zip(centred, squares, strict=True):
        torch.sum(torch.mul(one, one, out=product), 0, out=square)
    return centred, squares


def _clamped(areas: Tensor) -> Tensor:
    return areas.clamp(min=MINIMUM_AREA)


def _dot(one: Tensor, other: Tensor) -> Tensor:
    return (one * other).sum(1)


def _data_term(means: Tensor, lambda1: Tensor, lambda2: Tensor) -> tuple[Tensor, Tensor]:
    """w = lambda1 c1 - lambda2 c2, and the constant of the expansion."""
    first, second = means.unbind(1)
    direction = lambda1[:, None] * first - lambda2[:, None] * second
    return direction, lambda2 * _dot(second, second) - lambda1 * _dot(first, first)
