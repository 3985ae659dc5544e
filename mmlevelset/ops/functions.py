"""Regularised Heaviside and Dirac functions.

``heaviside`` turns a level set into a soft indicator of the inside. Its derivative ``dirac`` is
large near the contour, so each method moves the contour through it.
"""

import math

import torch
from torch import Tensor

from mmlevelset.ops.checks import check_floating, check_same_device

KINDS = ("arctan", "tanh", "sigmoid", "step")


def heaviside(phi: Tensor, eps: float | Tensor = 1.0, kind: str = "arctan") -> Tensor:
    r"""Soft indicator of ``phi > 0``, in [0, 1].

    ``arctan``: :math:`\frac12 (1 + \frac2\pi \arctan(z/\varepsilon))` (Chan and Vese 2001; LevelSet
    R-CNN eq. 4). ``tanh``: :math:`\frac12 (1 + \tanh(z/\varepsilon))` (Kim et al. 2019, eq. 6).
    ``sigmoid``: :math:`\sigma(z/\varepsilon)`. ``step``: 1 where ``phi >= 0``, no gradient.

    Args:
        phi: Level set of any shape, positive inside, floating point.
        eps: Width, positive, in the units of ``phi``: a number or a floating-point tensor that
            broadcasts to ``phi``'s shape. The values of a tensor are not checked, since that would
            wait for the device. ``step`` ignores the width.
        kind: One of ``arctan``, ``tanh``, ``sigmoid``, ``step``.

    Returns:
        Tensor of ``phi``'s shape and dtype. For the outside use ``H(-z)`` of a smooth kind: it
        equals ``1 - H(z)``, which rounds to zero for large z.

    Raises:
        ValueError: ``kind`` is unknown, the number ``eps`` is not positive, or the tensor ``eps``
            does not broadcast or is on another device.
        TypeError: ``phi`` or the tensor ``eps`` is not floating point.

    Example:
        >>> heaviside(torch.tensor([-1.0, 0.0, 1.0]))
        tensor([0.2500, 0.5000, 0.7500])
    """
    _check(phi, eps, kind)
    if kind == "arctan":
        width = eps.to(phi.dtype) if isinstance(eps, Tensor) else phi.new_full((), eps)
        return torch.atan2(width, -phi) / math.pi
    if kind == "tanh":
        return torch.sigmoid(2 * phi / eps)
    if kind == "sigmoid":
        return torch.sigmoid(phi / eps)
    return (phi >= 0).to(phi.dtype)


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
    if kind == "arctan":
        return eps / (math.pi * (eps * eps + phi * phi))
    if kind == "tanh":
        return torch.sigmoid(2 * phi / eps) * torch.sigmoid(-2 * phi / eps) * (2 / eps)
    if kind == "sigmoid":
        return torch.sigmoid(phi / eps) * torch.sigmoid(-phi / eps) / eps
    return torch.zeros_like(phi)


def _check(phi: Tensor, eps: float | Tensor, kind: str) -> None:
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}, but is {kind!r}")
    if not isinstance(phi, Tensor):
        raise TypeError(f"phi must be a tensor, but is {type(phi).__name__}")
    check_floating(phi=phi)
    if not isinstance(eps, Tensor):
        if not eps > 0:
            raise ValueError(f"eps must be positive, but is {eps}")
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
