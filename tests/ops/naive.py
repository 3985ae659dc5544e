"""The core's equations, written as in the papers: the oracle that the ops are compared with.

One region at a time, every tensor explicit, float64. Shares no code with the package.
"""

import math

import torch


def heaviside(z, eps):
    return 0.5 * (1 + 2 / math.pi * torch.atan(z / eps))


def printed_delta(z, eps):
    return eps**2 / (math.pi * (eps**2 + z**2))


def sobel(image):
    """Derivatives along x and y of (H, W), on the inner (H-2, W-2) pixels."""
    p = {(i, j): image[1 + i : image.shape[0] - 1 + i, 1 + j : image.shape[1] - 1 + j]
         for i in (-1, 0, 1) for j in (-1, 0, 1)}  # fmt: skip
    right = p[-1, 1] + 2 * p[0, 1] + p[1, 1]
    left = p[-1, -1] + 2 * p[0, -1] + p[1, -1]
    below = p[1, -1] + 2 * p[1, 0] + p[1, 1]
    above = p[-1, -1] + 2 * p[-1, 0] + p[-1, 1]
    return (right - left) / 8, (below - above) / 8


def curvature(phi, eta):
    height, width = phi.shape
    rows = torch.arange(-2, height + 2).clamp(0, height - 1)
    columns = torch.arange(-2, width + 2).clamp(0, width - 1)
    gx, gy = sobel(phi[rows][:, columns])
    norm = torch.sqrt(gx**2 + gy**2 + eta)
    return sobel(gx / norm)[0] + sobel(gy / norm)[1]


def means(features, inside, domain=None):
    domain = torch.ones_like(inside) if domain is None else domain
    first, second = domain * inside, domain * (1 - inside)
    c1 = (features * first).sum((1, 2)) / first.sum()
    c2 = (features * second).sum((1, 2)) / second.sum()
    return c1, c2


def energy(features, inside, domain=None, lambda1=1.0, lambda2=1.0):
    domain = torch.ones_like(inside) if domain is None else domain
    c1, c2 = means(features, inside, domain)
    e1 = ((features - c1[:, None, None]) ** 2).sum(0)
    e2 = ((features - c2[:, None, None]) ** 2).sum(0)
    return (domain * (lambda1 * inside * e1 + lambda2 * (1 - inside) * e2)).sum()


def length(inside):
    """Anisotropic total variation of (H, W)."""
    total = torch.zeros((), dtype=inside.dtype)
    for row in range(inside.shape[0]):
        for column in range(inside.shape[1]):
            if row:
                total = total + (inside[row, column] - inside[row - 1, column]).abs()
            if column:
                total = total + (inside[row, column] - inside[row, column - 1]).abs()
    return total


def evolve(phi, features, lambda1, lambda2, mu, eps, dt, mean=True, eta=1e-4, printed=True):
    """One region: phi (H, W), features (C, H, W), numbers, and eps, dt (N,)."""
    for step in range(len(eps)):
        c1, c2 = means(features, heaviside(phi, eps[step]))
        e1 = ((features - c1[:, None, None]) ** 2).sum(0)
        e2 = ((features - c2[:, None, None]) ** 2).sum(0)
        if mean:
            e1, e2 = e1 / len(features), e2 / len(features)
        delta = printed_delta(phi, eps[step])
        if not printed:
            delta = delta / eps[step]
        force = mu * curvature(phi, eta) - lambda1 * e1 + lambda2 * e2
        phi = phi + dt[step] * delta * force
    return phi
