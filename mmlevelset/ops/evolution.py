"""Unrolled Chan-Vese evolution, differentiable in every argument."""

import importlib
import math
import warnings
from numbers import Integral
from types import ModuleType

import torch
from torch import Tensor

from mmlevelset.ops import checks, evolution_torch
from mmlevelset.ops.arrays import takes_arrays
from mmlevelset.ops.geometry import MINIMUM_ETA
from mmlevelset.ops.kernels import triton_obstacle
from mmlevelset.ops.shapes import Spacing, flat, lead, read_spacing
from mmlevelset.ops.transforms import under_transforms, without_derivative

MINIMUM_EPS = 1e-12
"""For a smaller eps, gradients of float32 overflow."""


@takes_arrays
def evolve_chan_vese(
    phi0: Tensor,
    features: Tensor,
    lambda1: float | Tensor,
    lambda2: float | Tensor,
    mu: float | Tensor,
    eps: float | Tensor,
    dt: float | Tensor,
    *,
    steps: int | None = None,
    spacing: Spacing = None,
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
        phi0: Level sets (M, H, W), positive inside; a tensor or a NumPy array. Instead of M any
            number of leading dimensions, also none.
        features: F, (M, C, H, W); may be half precision. Differences of features up to 1e15 and
            level sets up to 1e15 are within the range of float32.
        lambda1: Weight of the inside, non-negative, (M,) or a number.
        lambda2: Weight of the outside, non-negative, (M,) or a number.
        mu: Weight of the curvature, non-negative, in pixels (units of the spacing), (M,) or a
            number.
        eps: Width of the Heaviside function in each step, in [1e-12, 1e12] and in units of phi:
            (M, N), (N,) for all regions alike, or a number for all steps.
        dt: Size of each step, non-negative: (M, N), (N,) or a number.
        steps: N, needed where both eps and dt are numbers.
        spacing: Distances of the pixels along (H, W), for the curvature; default: square pixels of
            side 1. Three numbers, along (D, H, W), say that phi0 is volumes (M, D, H, W) in
            features (M, C, D, H, W). The Triton kernels take square pixels only.
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
        (M, N+1, H, W). M stands for the leading dimensions of phi0. The dtype is float32, or
        float64 if phi0 or features is float64. M = 0 and N = 0 are allowed.

    Raises:
        ValueError: A shape, a device or an option is wrong, or ``check_finite`` found a NaN or an
            infinity. On a CPU or with ``check_finite``: eps is out of range, or dt is negative.
        TypeError: An argument is not a floating-point tensor (or a number, where it may be one).
        RuntimeError: ``backend="triton"`` cannot run, or a second or a forward-mode derivative is
            requested.

    Example:
        >>> phi = evolve_chan_vese(
        ...     torch.randn(2, 32, 32), torch.rand(2, 3, 32, 32), torch.ones(2), torch.ones(2),
        ...     torch.full((2,), 0.1), torch.ones(2, 3), torch.ones(2, 3))
        >>> phi.shape
        torch.Size([2, 32, 32])
        >>> evolve_chan_vese(phi[0], torch.rand(3, 32, 32), 1.0, 1.0, 0.1, 1.0, 0.5, steps=4).shape
        torch.Size([32, 32])
    """
    distances = read_spacing(spacing)
    leading, grid, spread = _check(
        len(distances), phi0, features, lambda1, lambda2, mu, eps, dt, steps
    )
    lambda1, lambda2, mu, eps, dt = spread
    phi0, features = flat(phi0, len(grid)), flat(features, len(grid) + 1)
    if not checks.check_number("eta", eta) >= MINIMUM_ETA:
        raise ValueError(f"eta must be at least {MINIMUM_ETA:g}, but is {eta}")
    if check_finite:
        checks.check_finite(
            phi0=phi0, features=features, lambda1=lambda1, lambda2=lambda2, mu=mu, eps=eps, dt=dt
        )
    readable = eps.device.type == "cpu" and not (
        torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active()
    )
    if check_finite or readable:
        if (eps <= 0).any():
            checks.check_positive(eps=eps)
        if (eps.isfinite() & ((eps < MINIMUM_EPS) | (eps > 1 / MINIMUM_EPS))).any():
            low, high = eps.min().item(), eps.max().item()
            raise ValueError(f"eps must lie in [1e-12, 1e12], but is in [{low:g}, {high:g}]")
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
    trajectory, _, _ = _evolution(
        phi0.to(dtype),
        features,
        lambda1,
        lambda2,
        mu.to(dtype),
        eps.to(dtype),
        dt.to(dtype),
        eta,
        delta == "printed",
        _resolve(backend, features, distances),
        list(distances),
    )
    trajectory = trajectory.view(*leading, *trajectory.shape[1:])
    return trajectory if return_trajectory else trajectory.select(len(leading), -1)


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
    spacing: list[float],
) -> tuple[Tensor, Tensor, Tensor]:
    """phi_0..phi_N (M, N+1, H, W); means (M, N, 2, C) and areas (M, N, 2) for the backward pass."""
    return _implementation(backend).forward(
        phi0, features, lambda1, lambda2, mu, eps, dt, eta, printed_delta, spacing
    )


@_evolve.register_fake
def _(phi0, features, lambda1, lambda2, mu, eps, dt, eta, printed_delta, backend, spacing):
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
    spacing: list[float],
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
        spacing,
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
    _, features, *scalars, eta, printed_delta, backend, spacing = inputs
    ctx.mark_non_differentiable(*output[1:])
    ctx.save_for_backward(features, *output, *scalars)
    ctx.options = eta, printed_delta, backend, spacing


def _backward(ctx, grad_trajectory, *_):
    features, trajectory, means, areas, *scalars = ctx.saved_tensors
    grads = _evolution_backward(
        grad_trajectory, trajectory, features, means, areas, *scalars, *ctx.options
    )
    return *grads, None, None, None, None


_evolve.register_autograd(_backward, setup_context=_setup_context)
_evolution_backward = without_derivative("evolve_chan_vese", _evolve_backward)
_evolution = under_transforms("evolve_chan_vese", _evolve, _setup_context, _backward)


def _implementation(backend: str) -> ModuleType:
    if backend == "torch":
        return evolution_torch
    # Triton is imported only where it is used.
    return importlib.import_module("mmlevelset.ops.kernels.evolution")


def _resolve(backend: str, features: Tensor, spacing: tuple[float, ...]) -> str:
    """Return the backend that runs: for ``auto`` Triton on CUDA unless features are float64."""
    if backend not in ("auto", "torch", "triton"):
        raise ValueError(f"backend must be 'auto', 'torch' or 'triton', but is {backend!r}")
    if backend == "torch" or (backend == "auto" and features.device.type != "cuda"):
        return "torch"
    obstacle = triton_obstacle(features)
    if spacing != (1.0, 1.0):
        obstacle = f"Triton's kernels take square pixels of side 1, and spacing is {spacing}"
    if not obstacle:
        return "triton"
    if backend == "auto":
        if features.dtype != torch.float64 and spacing == (1.0, 1.0):
            warnings.warn(f"evolve_chan_vese runs in plain PyTorch: {obstacle}", stacklevel=3)
        return "torch"
    raise RuntimeError(f"backend='triton' cannot run here: {obstacle}")


def _check(
    dims: int,
    phi0: Tensor,
    features: Tensor,
    lambda1: float | Tensor,
    lambda2: float | Tensor,
    mu: float | Tensor,
    eps: float | Tensor,
    dt: float | Tensor,
    steps: int | None,
) -> tuple[tuple[int, ...], tuple[int, ...], list[Tensor]]:
    """Leading dimensions, grid, and lambda1, lambda2, mu (M,), eps and dt (M, N) as tensors."""
    leading = lead("phi0", phi0, dims)
    grid = tuple(phi0.shape[len(leading) :])
    checks.check_shape("features", features, (*leading, "C", *grid))
    if features.shape[len(leading)] == 0:
        raise ValueError("features must have at least one channel, but has none")
    weights = {"lambda1": lambda1, "lambda2": lambda2, "mu": mu}
    schedule = {"eps": eps, "dt": dt}
    for name, value in (weights | schedule).items():
        if not isinstance(value, Tensor):
            checks.check_real(name, value, least=0)
    count = _count_steps(leading, schedule, steps)
    for name, value in weights.items():
        if isinstance(value, Tensor):
            checks.check_shape(name, value, leading)
    for name, value in schedule.items():
        # A shape of another length is not compared: torch.export has no value for M.
        if isinstance(value, Tensor) and (value.ndim != 1 or value.shape[0] != count):
            checks.check_shape(name, value, (*leading, count))
    named = dict(phi0=phi0, features=features, **weights, **schedule)
    tensors = {name: value for name, value in named.items() if isinstance(value, Tensor)}
    checks.check_floating(**tensors)
    checks.check_same_device(**tensors)

    def spread(value: float | Tensor, shape: tuple[int, ...]) -> Tensor:
        if not isinstance(value, Tensor):
            value = phi0.new_full((), value, dtype=checks.accumulation_dtype(phi0, features))
        return value.expand((*leading, *shape)).reshape(math.prod(leading), *shape)

    spreads = [spread(value, ()) for value in weights.values()]
    spreads += [spread(value, (count,)) for value in schedule.values()]
    return leading, grid, spreads


def _count_steps(
    leading: tuple[int, ...], schedule: dict[str, float | Tensor], steps: int | None
) -> int:
    if steps is not None and (
        not isinstance(steps, Integral) or isinstance(steps, bool) or steps < 0
    ):
        raise ValueError(f"steps must be a non-negative integer, but is {steps!r}")
    for name, value in schedule.items():
        if isinstance(value, Tensor):
            if value.ndim not in (1, len(leading) + 1):
                checks.check_shape(name, value, (*leading, "N"))
            if steps is not None and steps != value.shape[-1]:
                raise ValueError(
                    f"steps must be {value.shape[-1]}, the number of steps of {name}, or be left "
                    f"out, but is {steps}"
                )
            return value.shape[-1]
    if steps is None:
        raise ValueError("steps must be given where eps and dt are numbers, but is None")
    return int(steps)
