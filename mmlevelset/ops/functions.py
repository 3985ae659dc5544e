"""Regularised Heaviside and Dirac functions.

Every method moves a contour through these: ``heaviside`` turns a level set into a soft
indicator of the inside, ``dirac`` is its derivative and weighs the pixels near the contour.
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
        eps: Width, positive, in the units of ``phi``: a number or a tensor that broadcasts
            to ``phi``'s shape, whose values are not looked at, since that would wait for the
            device. ``step`` ignores it.
        kind: One of ``arctan``, ``tanh``, ``sigmoid``, ``step``.

    Returns:
        Tensor of ``phi``'s shape and dtype. ``1 - H(z)`` equals ``H(-z)``, which keeps its
        relative precision where ``H(z)`` rounds to one.

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
    """Derivative of :func:`heaviside` with respect to ``phi``; same arguments.

    LevelSet R-CNN's eq. 4 prints ``eps`` times this for ``arctan``. The derivative of ``step`` is
    zero almost everywhere, and that is what is returned for it.
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
