"""The edge-based level set of DELSE (Wang et al. 2019), a baseline of LevelSet R-CNN."""

import torch
import torch.nn.functional as F
from torch import Tensor

from mmlevelset.ops.checks import accumulation_dtype, check_floating, check_shape


def evolve_geodesic(
    initial: Tensor,
    velocity: Tensor,
    modulation: Tensor,
    alpha: Tensor,
    beta: Tensor,
    gamma: Tensor,
    dt: Tensor,
    truncation: float = 1.0,
    eta: float = 1e-2,
) -> Tensor:
    r"""Move level sets by a velocity field; smooth them and keep them close to distances.

    With d the level set measured in samples, for n = 1..N,

    .. math::
        d_n = d_{n-1} + \Delta t_n \big( -\alpha V \cdot \nabla d + \beta m |\nabla d| \kappa
        + \gamma\, \mathrm{div}((1 - 1/|\nabla d|) \nabla d) \big).

    V is the direction in which the contour moves, alpha samples in a unit of time. A contour that
    moves along V obeys :math:`d_t + V \cdot \nabla d = 0` whichever side is positive, hence the
    minus. Papers that print a plus take the gradient of an edge indicator for V, as in geodesic
    active contours (Caselles et al. 1997); it points away from the edges. The second term is motion
    by curvature, which shortens the contour. The third term has no effect where d has slope 1; it
    lowers steeper slopes and raises flatter ones.

    The first term takes differences from the side that V comes from (upwind). It is stable while
    :math:`\alpha \Delta t \le 1/\sqrt 2`, the others while :math:`\beta \Delta t \le 1` and
    :math:`\gamma \Delta t \le 1/4`. The other terms take gradient and divergence by Sobel filters,
    as :func:`mmlevelset.ops.curvature`, with :math:`|\nabla d| = \sqrt{d_x^2 + d_y^2 + \eta}`.

    Args:
        initial: phi_0 (M, H, W), positive inside, floating point.
        velocity: V, x and y (M, 2, H, W), of length at most 1.
        modulation: m (M, H, W) in [0, 1].
        alpha: Speed along V (M,).
        beta: Weight of the curvature (M,).
        gamma: Weight of the regularisation (M,).
        dt: Steps of time (M, N).
        truncation: Samples per unit of phi, so that ``d = truncation * phi``.
        eta: Added under the root, in squared slopes of d; positive.

    Returns:
        phi_0..phi_N (M, N+1, H, W), float32, or float64 if phi_0 is.

    Raises:
        ValueError: A shape does not fit, or ``truncation`` or ``eta`` is not positive.
        TypeError: A tensor is not of floating point.
    """
    check_shape("initial", initial, ("M", "H", "W"))
    count, height, width = initial.shape
    check_shape("velocity", velocity, (count, 2, height, width))
    check_shape("modulation", modulation, (count, height, width))
    for name, value in (("alpha", alpha), ("beta", beta), ("gamma", gamma)):
        check_shape(name, value, (count,))
    check_shape("dt", dt, (count, "N"))
    check_floating(initial=initial, velocity=velocity, modulation=modulation, dt=dt)
    for name, number in (("truncation", truncation), ("eta", eta)):
        if not number > 0:
            raise ValueError(f"{name} must be positive, but is {number}")
    dtype = accumulation_dtype(initial)
    level_sets = [initial.to(dtype)]
    if count == 0:  # distributed training waits for a gradient of every argument
        unused = initial + velocity.sum(1) + modulation + (alpha + beta + gamma)[:, None, None]
        return torch.cat([initial[:, None], unused[:, None] + dt[..., None, None]], 1).to(dtype)
    distance = level_sets[0] * truncation
    along_x, along_y = velocity.to(dtype).unbind(1)
    speed, stiffness, regularity, times = (
        value.to(dtype)[..., None, None] for value in (alpha, beta, gamma, dt)
    )
    smoothing = stiffness * modulation.to(dtype)
    for step in range(dt.shape[1]):
        terms = _terms(distance, along_x, along_y, speed, smoothing, regularity, eta)
        distance = distance + times[:, step] * sum(terms)
        level_sets.append(distance / truncation)
    return torch.stack(level_sets, 1)


def geodesic_terms(
    trajectory: Tensor,
    velocity: Tensor,
    modulation: Tensor,
    alpha: Tensor,
    beta: Tensor,
    gamma: Tensor,
    dt: Tensor,
    truncation: float = 1.0,
    eta: float = 1e-2,
) -> dict[str, Tensor]:
    """What each term of :func:`evolve_geodesic` added to the level sets in each step.

    Args:
        trajectory: Its result (M, N+1, H, W); the others are its arguments.

    Returns:
        ``curvature``, ``regularity`` and ``velocity``, each (M, N, H, W).
    """
    along_x, along_y = velocity.unbind(1)
    speed, stiffness, regularity = (value[..., None, None] for value in (alpha, beta, gamma))
    steps = [
        _terms(phi * truncation, along_x, along_y, speed, stiffness * modulation, regularity, eta)
        for phi in trajectory[:, :-1].unbind(1)
    ]
    scale = dt[..., None, None] / truncation
    names = ("curvature", "regularity", "velocity")
    terms = (torch.stack(term, 1) * scale for term in zip(*steps, strict=True))
    return dict(zip(names, terms, strict=True))


def _terms(
    distance: Tensor,
    along_x: Tensor,
    along_y: Tensor,
    speed: Tensor,
    smoothing: Tensor,
    regularity: Tensor,
    eta: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Curvature, regularity and velocity: what moves the distance in a unit of time."""
    slope, curvature, laplacian = _geometry(distance, eta)
    return (
        smoothing * slope * curvature,
        regularity * (laplacian - curvature),  # div((1 - 1/s) g) = div g - div(g / s)
        -speed * _upwind(distance, along_x, along_y),
    )


def _upwind(distance: Tensor, along_x: Tensor, along_y: Tensor) -> Tensor:
    """Derivative of d in the direction of V, by differences from the side that V comes from."""
    dx, dy = distance.diff(dim=2), distance.diff(dim=1)
    return (
        along_x.clamp(min=0) * F.pad(dx, (1, 0))
        + along_x.clamp(max=0) * F.pad(dx, (0, 1))
        + along_y.clamp(min=0) * F.pad(dy, (0, 0, 1, 0))
        + along_y.clamp(max=0) * F.pad(dy, (0, 0, 0, 1))
    )


def _geometry(distance: Tensor, eta: float) -> tuple[Tensor, Tensor, Tensor]:
    """Slope, curvature and Laplacian (M, H, W)."""
    padded = F.pad(distance[:, None], (2, 2, 2, 2), mode="replicate")[:, 0]
    dx, dy = _sobel(padded), _sobel(padded.mT).mT
    slope = (dx.square() + dy.square() + eta).sqrt()
    curvature = _sobel(dx / slope) + _sobel((dy / slope).mT).mT
    laplacian = _sobel(dx) + _sobel(dy.mT).mT
    return slope[:, 1:-1, 1:-1], curvature, laplacian


def _sobel(image: Tensor) -> Tensor:
    """Derivative along x of the inner samples: (M, H, W) to (M, H-2, W-2)."""
    difference = image[:, :, 2:] - image[:, :, :-2]
    return (difference[:, :-2] + 2 * difference[:, 1:-1] + difference[:, 2:]) / 8
