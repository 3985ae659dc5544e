"""Unrolled Chan-Vese evolution, differentiable in every argument."""

import torch
from torch import Tensor

from mmlevelset.ops.checks import (
    accumulation_dtype,
    check_floating,
    check_same_device,
    check_shape,
)
from mmlevelset.ops.functions import dirac, heaviside
from mmlevelset.ops.geometry import curvature
from mmlevelset.ops.region import MINIMUM_AREA


def evolve_chan_vese(
    phi0: Tensor,
    features: Tensor,
    lambda1: Tensor,
    lambda2: Tensor,
    mu: Tensor,
    eps: Tensor,
    dt: Tensor,
    *,
    reduction: str = "mean",
    eta: float = 1e-4,
    delta: str = "printed",
    backend: str = "auto",
    return_trajectory: bool = False,
) -> Tensor:
    r"""N steps of gradient descent on the Chan-Vese energy (LevelSet R-CNN eqs. 7-9).

    .. math::
        \phi_n = \phi_{n-1} + \Delta t_n\, \delta_{\varepsilon_n}(\phi_{n-1}) \left( \mu
        \kappa(\phi_{n-1}) - \lambda_1 \|F - c_1\|^2 + \lambda_2 \|F - c_2\|^2 \right)

    with :math:`c_1, c_2` the mean features inside and outside :math:`\phi_{n-1}` under the
    ``arctan`` Heaviside function of width :math:`\varepsilon_n`. Adding a constant to a channel of
    the features changes nothing; exchanging inside and outside (phi0 -> -phi0, lambda1 <->
    lambda2) changes the sign of the result only.

    Args:
        phi0: Level sets (M, H, W), positive inside.
        features: F, (M, C, H, W); may be half precision.
        lambda1: Weight of the inside (M,), non-negative.
        lambda2: Weight of the outside (M,), non-negative.
        mu: Weight of the curvature (M,), non-negative, in pixels.
        eps: Width of the Heaviside function in each step (M, N), positive, in units of phi.
        dt: Size of each step (M, N).
        reduction: ``mean`` divides the squared feature distances by C, ``sum`` does not (the
            paper's reading).
        eta: See :func:`mmlevelset.ops.curvature`.
        delta: ``printed``: eps times the derivative of the Heaviside function, as in eq. 4 of the
            paper; ``derivative``: the derivative itself.
        backend: ``auto``, ``torch`` or ``triton``. ``torch`` is the definition.
        return_trajectory: Return phi_0..phi_N rather than phi_N.

    Returns:
        phi_N (M, H, W), or (M, N+1, H, W) with ``return_trajectory``; float32 (float64 if phi0 or
        features are). M = 0 and N = 0 are allowed.

    Raises:
        ValueError: A shape or option does not fit; the message names the argument.
        TypeError: An argument is not a floating-point tensor.
        RuntimeError: ``backend="triton"`` where it cannot run.

    Example:
        >>> phi = evolve_chan_vese(
        ...     torch.randn(2, 32, 32), torch.rand(2, 3, 32, 32), torch.ones(2), torch.ones(2),
        ...     torch.full((2,), 0.1), torch.ones(2, 3), torch.ones(2, 3))
        >>> phi.shape
        torch.Size([2, 32, 32])
    """
    _check(phi0, features, lambda1, lambda2, mu, eps, dt)
    if reduction not in ("mean", "sum"):
        raise ValueError(f"reduction must be 'mean' or 'sum', but is {reduction!r}")
    if delta not in ("printed", "derivative"):
        raise ValueError(f"delta must be 'printed' or 'derivative', but is {delta!r}")
    if backend not in ("auto", "torch", "triton"):
        raise ValueError(f"backend must be 'auto', 'torch' or 'triton', but is {backend!r}")
    if backend == "triton":
        raise RuntimeError("backend='triton': this version has no Triton kernels; use 'auto'")
    dtype = accumulation_dtype(phi0, features)
    if reduction == "mean":
        lambda1 = lambda1 / features.shape[1]
        lambda2 = lambda2 / features.shape[1]
    with torch.autocast(phi0.device.type, enabled=False):
        trajectory = _evolve(
            phi0.to(dtype),
            features.to(dtype),
            lambda1.to(dtype),
            lambda2.to(dtype),
            mu.to(dtype),
            eps.to(dtype),
            dt.to(dtype),
            eta,
            printed_delta=delta == "printed",
        )
    return torch.stack(trajectory, 1) if return_trajectory else trajectory[-1]


def _evolve(
    phi: Tensor,
    features: Tensor,
    lambda1: Tensor,
    lambda2: Tensor,
    mu: Tensor,
    eps: Tensor,
    dt: Tensor,
    eta: float,
    printed_delta: bool,
) -> list[Tensor]:
    """The definition, with ``|F - c|^2`` expanded so that a step is two batched products.

    -lambda1 |F-c1|^2 + lambda2 |F-c2|^2 = (lambda2-lambda1) |F|^2 + 2 F.w + constant, with
    w = lambda1 c1 - lambda2 c2. Centring F keeps the expansion from cancelling; since the result
    does not depend on the centre, the centre needs no gradient.
    """
    features = (features - features.detach().mean((2, 3), keepdim=True)).flatten(2)
    squares = features.square().sum(1)
    trajectory = [phi]
    for step_eps, step_dt in zip(eps.unbind(1), dt.unbind(1), strict=True):
        width = step_eps[:, None, None]
        inside = heaviside(phi, width)
        weights = torch.stack([inside, 1 - inside], 1).flatten(2)
        areas = weights.sum(2, keepdim=True).clamp(min=MINIMUM_AREA)
        means = weights @ features.transpose(1, 2) / areas
        first, second = means.unbind(1)
        direction = lambda1[:, None] * first - lambda2[:, None] * second
        constant = lambda2 * second.square().sum(1) - lambda1 * first.square().sum(1)
        data = (
            (lambda2 - lambda1)[:, None] * squares
            + 2 * (direction[:, None] @ features)[:, 0]
            + constant[:, None]
        )
        force = mu[:, None, None] * curvature(phi, eta) + data.view_as(phi)
        speed = dirac(phi, width) * width if printed_delta else dirac(phi, width)
        phi = phi + step_dt[:, None, None] * speed * force
        trajectory.append(phi)
    return trajectory


def _check(
    phi0: Tensor,
    features: Tensor,
    lambda1: Tensor,
    lambda2: Tensor,
    mu: Tensor,
    eps: Tensor,
    dt: Tensor,
) -> None:
    check_shape("phi0", phi0, ("M", "H", "W"))
    count, height, width = phi0.shape
    check_shape("features", features, (count, "C", height, width))
    for name, value in (("lambda1", lambda1), ("lambda2", lambda2), ("mu", mu)):
        check_shape(name, value, (count,))
    check_shape("eps", eps, (count, "N"))
    check_shape("dt", dt, (count, eps.shape[1]))
    named = dict(
        phi0=phi0, features=features, lambda1=lambda1, lambda2=lambda2, mu=mu, eps=eps, dt=dt
    )
    check_floating(**named)
    check_same_device(**named)
