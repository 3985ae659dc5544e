"""Regularised Heaviside and Dirac functions.

``heaviside`` turns a level set into a soft indicator of the inside. Its derivative ``dirac`` is
large near the contour, so each method moves the contour through it.
"""

import math

import torch
from torch import Tensor

from mmlevelset.ops.arrays import takes_arrays
from mmlevelset.ops.checks import (
    accumulation_dtype,
    check_floating,
    check_number,
    check_same_device,
)

MINIMUM_EPS = 1e-15
"""For a smaller eps, its inverse square overflows in float32, and gradients are NaN."""

KINDS = ("arctan", "tanh", "sigmoid", "step")


@takes_arrays
def heaviside(phi: Tensor, eps: float | Tensor = 1.0, kind: str = "arctan") -> Tensor:
    r"""Soft indicator of ``phi > 0``, in [0, 1].

    ``arctan``: :math:`\frac12 (1 + \frac2\pi \arctan(z/\varepsilon))` (Chan and Vese 2001; LevelSet
    R-CNN eq. 4). ``tanh``: :math:`\frac12 (1 + \tanh(z/\varepsilon))` (Kim et al. 2019, eq. 6).
    ``sigmoid``: :math:`\sigma(z/\varepsilon)`. ``step``: 1 where ``phi >= 0``, no gradient.

    Args:
        phi: Level set of any shape, positive inside, floating point; a tensor or a NumPy array.
            Any finite value is allowed. Half precision is computed in float32.
        eps: Width, at least ``MINIMUM_EPS`` (1e-15) and at most 1e15, in the units of ``phi``: a
            number or a floating-point tensor that broadcasts to ``phi``'s shape. The values of a
            tensor are not checked, since that would wait for the device. ``step`` ignores the
            width.
        kind: One of ``arctan``, ``tanh``, ``sigmoid``, ``step``.

    Returns:
        Tensor of ``phi``'s shape and dtype. For the outside use ``H(-z)`` of a smooth kind: it
        equals ``1 - H(z)``, which rounds to zero for large z.

    Raises:
        ValueError: ``kind`` is unknown, the number ``eps`` is out of range, or the tensor ``eps``
            does not broadcast or is on another device.
        TypeError: ``phi`` or the tensor ``eps`` is not floating point, or one is an array and one
            is a tensor.

    Example:
        >>> heaviside(torch.tensor([-1.0, 0.0, 1.0]))
        tensor([0.2500, 0.5000, 0.7500])
    """
    _check(phi, eps, kind)
    if kind == "step":
        return (phi >= 0).to(phi.dtype)
    z, width = _in_full(phi, eps)
    if kind == "arctan":
        # The arguments have the norm 1: squares of theirs, in the gradient, cannot overflow.
        radius = torch.hypot(width, z).detach()
        result = torch.atan2(width / radius, -z / radius) / math.pi
    else:
        ratio = _ratio(z, width, 2.0 if kind == "tanh" else 1.0)
        # Of the smaller side, whose derivative is precise, too.
        inside = ratio > 0
        small = torch.sigmoid(torch.where(inside, -ratio, ratio))
        result = torch.where(inside, 1 - small, small)
    return result.to(phi.dtype)


@takes_arrays
def dirac(phi: Tensor, eps: float | Tensor = 1.0, kind: str = "arctan") -> Tensor:
    r"""Derivative of :func:`heaviside` with respect to ``phi``.

    ``arctan``: :math:`\frac1\pi \frac\varepsilon{\varepsilon^2 + z^2}`; LevelSet R-CNN's eq. 4
    prints :math:`\varepsilon` times this value. ``tanh``: :math:`\frac1{2\varepsilon} (1 -
    \tanh^2(z/\varepsilon))`. ``sigmoid``: :math:`\sigma(z/\varepsilon) \sigma(-z/\varepsilon) /
    \varepsilon`. ``step``: 0, its derivative almost everywhere.

    The arguments and errors are those of :func:`heaviside`.

    Returns:
        Tensor of ``phi``'s shape and dtype, not negative, in one over the units of ``phi``.

    Example:
        >>> dirac(torch.tensor([-1.0, 0.0, 1.0]))
        tensor([0.1592, 0.3183, 0.1592])
    """
    _check(phi, eps, kind)
    if kind == "step":
        return torch.zeros_like(phi)
    z, width = _in_full(phi, eps)
    if kind == "arctan":
        radius = torch.hypot(width, z)  # squares would overflow
        result = width / radius / (math.pi * radius)
    else:
        steepness = 2.0 if kind == "tanh" else 1.0
        ratio = _ratio(z, width, steepness)
        result = torch.sigmoid(ratio) * torch.sigmoid(-ratio) * steepness / width
    return result.to(phi.dtype)


def _in_full(phi: Tensor, eps: float | Tensor) -> tuple[Tensor, Tensor]:
    """phi and the width in float32, or float64 if phi is float64."""
    dtype = accumulation_dtype(phi)
    width = eps.to(dtype) if isinstance(eps, Tensor) else phi.new_full((), eps, dtype=dtype)
    return phi.to(dtype), width


def _ratio(z: Tensor, width: Tensor, steepness: float) -> Tensor:
    """steepness z / width, without a gradient where the sigmoid's derivative rounds to zero."""
    limit = 750.0 if z.dtype == torch.float64 else 110.0
    near = z.abs() <= limit / steepness * width
    ratio = steepness * (torch.where(near, z, 0.0) / width)
    return torch.where(near, ratio, limit * z.sign())


def _check(phi: Tensor, eps: float | Tensor, kind: str) -> None:
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}, but is {kind!r}")
    if not isinstance(phi, Tensor):
        kind = type(phi).__name__
        raise TypeError(f"phi must be a tensor or a NumPy array, but is {kind}")
    check_floating(phi=phi)
    if not isinstance(eps, Tensor):
        if not check_number("eps", eps) > 0:
            raise ValueError(f"eps must be positive, but is {eps}")
        if not MINIMUM_EPS <= eps <= 1 / MINIMUM_EPS:
            raise ValueError(f"eps must lie in [1e-15, 1e15], but is {eps}")
        return
    check_floating(eps=eps)
    if eps.ndim:
        check_same_device(phi=phi, eps=eps)
    trailing = zip(reversed(eps.shape), reversed(phi.shape), strict=False)
    if eps.ndim > phi.ndim or any(width not in (1, size) for width, size in trailing):
        raise ValueError(
            f"eps must broadcast against phi of shape {tuple(phi.shape)}, "
            f"but has {tuple(eps.shape)}"
        )
