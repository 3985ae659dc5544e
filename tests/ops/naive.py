"""The equations of the ops, written as in the papers: the oracle for their tests.

The functions take one region at a time, in float64, and share no code with the package.
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


def solver_gradient(phi):
    """Central differences of (H, W) along x and y; phi keeps its value beyond the border."""
    rows = torch.arange(-1, phi.shape[0] + 1).clamp(0, phi.shape[0] - 1)
    columns = torch.arange(-1, phi.shape[1] + 1).clamp(0, phi.shape[1] - 1)
    gx = (phi[:, columns[2:]] - phi[:, columns[:-2]]) / 2
    gy = (phi[rows[2:]] - phi[rows[:-2]]) / 2
    return gx, gy


def solver_slope(phi):
    gx, gy = solver_gradient(phi)
    return torch.sqrt(gx**2 + gy**2 + 1e-10)


def double_well(s):
    return torch.where(
        s <= 1, (1 - torch.cos(2 * math.pi * s)) / (2 * math.pi) ** 2, (s - 1) ** 2 / 2
    )


def single_well(s):
    return (s - 1) ** 2 / 2


def solver_distance_energy(phi, well):
    """Sum of p(|grad phi|); its part s^2 / 2 is measured with forward differences."""
    slope = solver_slope(phi)
    squares = (phi[1:] - phi[:-1]).square().sum() + (phi[:, 1:] - phi[:, :-1]).square().sum()
    return (well(slope) - slope**2 / 2).sum() + squares / 2


def solver_length_force(phi, weight):
    """div(weight grad phi / |grad phi|), pixel by pixel; no flux through the border."""
    gx, gy = solver_gradient(phi)
    slope = solver_slope(phi)
    qx, qy = weight * gx / slope, weight * gy / slope
    height, width = phi.shape
    result = torch.zeros_like(phi)
    for i in range(height):
        for j in range(width):
            right = qx[i, j + 1] if j + 1 < width else -qx[i, j]
            left = qx[i, j - 1] if j > 0 else -qx[i, j]
            below = qy[i + 1, j] if i + 1 < height else -qy[i, j]
            above = qy[i - 1, j] if i > 0 else -qy[i, j]
            result[i, j] = (right - left + below - above) / 2
    return result


def cosine_delta(z, eps):
    return torch.where(z.abs() <= eps, (1 + torch.cos(math.pi * z / eps)) / (2 * eps), 0.0)


def sine_heaviside(z, eps):
    middle = (1 + z / eps + torch.sin(math.pi * z / eps) / math.pi) / 2
    return torch.where(z > eps, 1.0, torch.where(z < -eps, 0.0, middle))


def local_fitting_energy(phi, image, sigma, radius, lambda1, lambda2, eps):
    """Region-scalable fitting of one channel, window by window."""
    inside = heaviside(phi, eps)
    offsets = range(-radius, radius + 1)
    norm = sum(math.exp(-(d**2) / (2 * sigma**2)) for d in offsets) ** 2
    height, width = image.shape
    total = torch.zeros((), dtype=phi.dtype)
    for i in range(height):
        for j in range(width):
            window = [
                (i + di, j + dj, math.exp(-(di**2 + dj**2) / (2 * sigma**2)) / norm)
                for di in offsets
                for dj in offsets
                if 0 <= i + di < height and 0 <= j + dj < width
            ]
            at = tuple(torch.tensor([entry[axis] for entry in window]) for axis in (0, 1))
            kernel = torch.tensor([entry[2] for entry in window], dtype=phi.dtype)
            for scale, part in ((lambda1, inside[at]), (lambda2, 1 - inside[at])):
                mean = (kernel * part * image[at]).sum() / (kernel * part).sum()
                total = total + scale * (kernel * part * (image[at] - mean) ** 2).sum()
    return total


def polynomial_fitting_energy(phi, image, order, lambda1, lambda2, eps):
    """L2S of one channel: ridge regression on all products of Legendre polynomials."""
    axes = [(torch.arange(n, dtype=phi.dtype) + 0.5) * 2 / n - 1 for n in image.shape]
    polynomials = [torch.special.legendre_polynomial_p] * (order + 1)
    basis = torch.stack(
        [
            (of_y(axes[0], i)[:, None] * of_x(axes[1], j)).flatten()
            for i, of_y in enumerate(polynomials)
            for j, of_x in enumerate(polynomials)
        ],
        1,
    )
    inside = heaviside(phi, eps).flatten()
    total = torch.zeros((), dtype=phi.dtype)
    for ridge, part in ((lambda1, inside), (lambda2, 1 - inside)):
        # Least squares of the weighted rows, with the ridge as further rows.
        rows = torch.cat([part.sqrt()[:, None] * basis, math.sqrt(ridge) * torch.eye(len(basis.T))])
        wanted = torch.cat([part.sqrt() * image.flatten(), torch.zeros(len(basis.T))])
        coefficients = torch.linalg.lstsq(rows.to(phi.dtype), wanted.to(phi.dtype)[:, None])[0]
        error = image.flatten() - (basis @ coefficients)[:, 0]
        total = total + (part * error**2).sum() + ridge * (coefficients**2).sum()
    return total


def chan_vese(phi, image, mu, lambda1, lambda2, dt, steps):
    """Getreuer's semi-implicit scheme on one (C, H, W) image; the energies before each step."""
    _, height, width = image.shape
    rows, columns = torch.arange(height), torch.arange(width)
    below, above = (rows + 1).clamp(max=height - 1), (rows - 1).clamp(min=0)
    right, left = (columns + 1).clamp(max=width - 1), (columns - 1).clamp(min=0)
    energies = []
    for _ in range(steps):
        e, w, s, n = phi[:, right], phi[:, left], phi[below], phi[above]
        dx, dy = (e - w) / 2, (s - n) / 2
        delta = 1 / (1 + phi**2)
        soft = heaviside(phi, 1.0)
        c1, c2 = means(image, soft)
        data = lambda1 * soft * ((image - c1[:, None, None]) ** 2).mean(0)
        data = data + lambda2 * (1 - soft) * ((image - c2[:, None, None]) ** 2).mean(0)
        energies.append((data + mu * delta * torch.sqrt(dx**2 + dy**2)).sum().item())
        inside = (phi > 0).to(phi.dtype)
        c1 = (image * inside).sum((1, 2)) / inside.sum().clamp(min=1)
        c2 = (image * (1 - inside)).sum((1, 2)) / (1 - inside).sum().clamp(min=1)
        force = lambda2 * ((image - c2[:, None, None]) ** 2).mean(0)
        force = force - lambda1 * ((image - c1[:, None, None]) ** 2).mean(0)
        sides = [((e - phi) ** 2 + dy**2, e), ((phi - w) ** 2 + dy**2, w)]
        sides += [((s - phi) ** 2 + dx**2, s), ((phi - n) ** 2 + dx**2, n)]
        weights = [1 / torch.sqrt(1e-16 + square) for square, _ in sides]
        pull = sum(weight * side for weight, (_, side) in zip(weights, sides, strict=True))
        phi = phi + dt * delta * (mu * pull + force)
        phi = phi / (1 + mu * dt * delta * sum(weights))
    return phi, energies
