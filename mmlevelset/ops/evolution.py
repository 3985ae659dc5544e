"""Unrolled Chan-Vese evolution, differentiable in every argument."""

import importlib
import warnings
from types import ModuleType

import torch
from torch import Tensor

from mmlevelset.ops import checks, evolution_torch
from mmlevelset.ops.geometry import MINIMUM_ETA
from mmlevelset.ops.kernels import triton_obstacle


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
    check_finite: bool = False,
) -> Tensor:
    r"""Level sets after N steps of descent on the Chan-Vese energy (LevelSet R-CNN eqs. 7-9).

    .. math::
        \phi_n = \phi_{n-1} + \Delta t_n\, \delta_{\varepsilon_n}(\phi_{n-1}) \left( \mu
        \kappa(\phi_{n-1}) - \lambda_1 \|F - c_1\|^2 + \lambda_2 \|F - c_2\|^2 \right)

    The means :math:`c_1, c_2` of the features inside and outside of :math:`\phi_{n-1}` are weighted
    by the ``arctan`` Heaviside function of width :math:`\varepsilon_n`. A constant added to a
    channel of the features does not change the result. Exchanging inside and outside (phi0 ->
    -phi0, lambda1 <-> lambda2) changes only the sign of the result.

    Args:
        phi0: Level sets (M, H, W), positive inside.
        features: F, (M, C, H, W); may be half precision.
        lambda1: Weight of the inside (M,), non-negative.
        lambda2: Weight of the outside (M,), non-negative.
        mu: Weight of the curvature (M,), non-negative, in pixels.
        eps: Width of the Heaviside function in each step (M, N), positive, in units of phi.
        dt: Size of each step (M, N), non-negative.
        reduction: ``mean`` divides the squared feature distances by C; ``sum``, as in the paper,
            does not.
        eta: Added under the root in the curvature, see :func:`mmlevelset.ops.curvature`.
        delta: ``printed``: eps times the derivative of the Heaviside function, as in eq. 4 of the
            paper. ``derivative``: the derivative itself.
        backend: ``torch``: plain PyTorch, on any device. ``triton``: Triton kernels, on CUDA, not
            for float64. ``auto``: the kernels on CUDA where they can run, else PyTorch. Both save
            the features in their own dtype, phi_0..phi_N, the means and the areas for the backward
            pass.
        return_trajectory: Return phi_0..phi_N rather than phi_N.
        check_finite: Raise if an argument holds a NaN or an infinity; waits for the device.

    Returns:
        phi_N (M, H, W), a view of the trajectory; with ``return_trajectory`` phi_0..phi_N
        (M, N+1, H, W). The dtype is float32, or float64 if phi0 or features is float64. M = 0 and
        N = 0 are allowed.

    Raises:
        ValueError: A shape, a device or an option is wrong, or ``check_finite`` found a NaN or an
            infinity. On a CPU or with ``check_finite``: eps is not positive, or dt is negative.
        TypeError: An argument is not a floating-point tensor.
        RuntimeError: ``backend="triton"`` cannot run, or a second derivative is requested.

    Example:
        >>> phi = evolve_chan_vese(
        ...     torch.randn(2, 32, 32), torch.rand(2, 3, 32, 32), torch.ones(2), torch.ones(2),
        ...     torch.full((2,), 0.1), torch.ones(2, 3), torch.ones(2, 3))
        >>> phi.shape
        torch.Size([2, 32, 32])
    """
    _check(phi0, features, lambda1, lambda2, mu, eps, dt)
    if not eta >= MINIMUM_ETA:
        raise ValueError(f"eta must be at least {MINIMUM_ETA:g}, but is {eta}")
    if check_finite:
        checks.check_finite(
            phi0=phi0, features=features, lambda1=lambda1, lambda2=lambda2, mu=mu, eps=eps, dt=dt
        )
    if check_finite or (eps.device.type == "cpu" and not torch.compiler.is_compiling()):
        if (eps <= 0).any():
            checks.check_positive(eps=eps)
        if (dt < 0).any():
            raise ValueError(f"dt must not be negative, but its smallest value is {dt.min():g}")
    if reduction not in ("mean", "sum"):
        raise ValueError(f"reduction must be 'mean' or 'sum', but is {reduction!r}")
    if delta not in ("printed", "derivative"):
        raise ValueError(f"delta must be 'printed' or 'derivative', but is {delta!r}")
    dtype = checks.accumulation_dtype(phi0, features)
    lambda1, lambda2 = lambda1.to(dtype), lambda2.to(dtype)
    if reduction == "mean":
        lambda1 = lambda1 / features.shape[1]
        lambda2 = lambda2 / features.shape[1]
    if dtype == torch.float64:
        features = features.to(dtype)
    trajectory, _, _ = _evolve(
        phi0.to(dtype),
        features,
        lambda1,
        lambda2,
        mu.to(dtype),
        eps.to(dtype),
        dt.to(dtype),
        eta,
        delta == "printed",
        _resolve(backend, features),
    )
    return trajectory if return_trajectory else trajectory[:, -1]


@torch.library.custom_op("mmlevelset::evolve_chan_vese", mutates_args=())
def _evolve(
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
) -> tuple[Tensor, Tensor, Tensor]:
    """phi_0..phi_N (M, N+1, H, W); means (M, N, 2, C) and areas (M, N, 2) for the backward pass."""
    return _implementation(backend).forward(
        phi0, features, lambda1, lambda2, mu, eps, dt, eta, printed_delta
    )


@_evolve.register_fake
def _(phi0, features, lambda1, lambda2, mu, eps, dt, eta, printed_delta, backend):
    count, steps = eps.shape
    return (
        phi0.new_empty(count, steps + 1, *phi0.shape[1:]),
        phi0.new_empty(count, steps, 2, features.shape[1]),
        phi0.new_empty(count, steps, 2),
    )


@torch.library.custom_op("mmlevelset::evolve_chan_vese_backward", mutates_args=())
def _evolve_backward(
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
    backend: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients of phi0, features, lambda1, lambda2, mu, eps and dt."""
    return _implementation(backend).backward(
        grad_trajectory,
        trajectory,
        features,
        means,
        areas,
        lambda1,
        lambda2,
        mu,
        eps,
        dt,
        eta,
        printed_delta,
    )


@_evolve_backward.register_fake
def _(grad_trajectory, trajectory, features, means, areas, *scalars_and_options):
    scalars = scalars_and_options[:5]
    return (
        torch.empty_like(trajectory[:, 0], memory_format=torch.contiguous_format),
        torch.empty_like(features, memory_format=torch.contiguous_format),
        *(torch.empty_like(value, memory_format=torch.contiguous_format) for value in scalars),
    )


def _setup_context(ctx, inputs, output):
    _, features, *scalars, eta, printed_delta, backend = inputs
    ctx.mark_non_differentiable(*output[1:])
    ctx.save_for_backward(features, *output, *scalars)
    ctx.options = eta, printed_delta, backend


def _backward(ctx, grad_trajectory, *_):
    features, trajectory, means, areas, *scalars = ctx.saved_tensors
    grads = _evolve_backward(
        grad_trajectory, trajectory, features, means, areas, *scalars, *ctx.options
    )
    return *grads, None, None, None


_evolve.register_autograd(_backward, setup_context=_setup_context)


def _implementation(backend: str) -> ModuleType:
    if backend == "torch":
        return evolution_torch
    # Triton is imported only where it is used.
    return importlib.import_module("mmlevelset.ops.kernels.evolution")


def _resolve(backend: str, features: Tensor) -> str:
    """Return the backend that runs: for ``auto`` Triton on CUDA unless features are float64."""
    if backend not in ("auto", "torch", "triton"):
        raise ValueError(f"backend must be 'auto', 'torch' or 'triton', but is {backend!r}")
    if backend == "torch" or (backend == "auto" and features.device.type != "cuda"):
        return "torch"
    obstacle = triton_obstacle(features)
    if not obstacle:
        return "triton"
    if backend == "auto":
        if features.dtype != torch.float64:
            warnings.warn(f"evolve_chan_vese runs in plain PyTorch: {obstacle}", stacklevel=3)
        return "torch"
    raise RuntimeError(f"backend='triton' cannot run here: {obstacle}")


def _check(
    phi0: Tensor,
    features: Tensor,
    lambda1: Tensor,
    lambda2: Tensor,
    mu: Tensor,
    eps: Tensor,
    dt: Tensor,
) -> None:
    checks.check_shape("phi0", phi0, ("M", "H", "W"))
    count, height, width = phi0.shape
    checks.check_shape("features", features, (count, "C", height, width))
    if features.shape[1] == 0:
        raise ValueError("features must have at least one channel, but has none")
    for name, value in (("lambda1", lambda1), ("lambda2", lambda2), ("mu", mu)):
        checks.check_shape(name, value, (count,))
    checks.check_shape("eps", eps, (count, "N"))
    checks.check_shape("dt", dt, (count, eps.shape[1]))
    named = dict(
        phi0=phi0, features=features, lambda1=lambda1, lambda2=lambda2, mu=mu, eps=eps, dt=dt
    )
    checks.check_floating(**named)
    checks.check_same_device(**named)
