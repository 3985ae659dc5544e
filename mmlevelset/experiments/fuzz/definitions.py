"""The definitions of the ops in float64, for many regions at once; no code of the ops."""

import math

import torch
from torch import Tensor
from torch.nn.functional import pad

MINIMUM_AREA = 1e-5


def heaviside(phi: Tensor, eps: Tensor, kind: str) -> Tensor:
    z = phi / eps
    if kind == "arctan":
        # atan of the inverse keeps the small values on the outside.
        tail = torch.atan(1 / torch.where(z == 0, 1.0, z.abs())) / math.pi
        tail = torch.where(z == 0, 0.5 - torch.atan(z) / math.pi, tail)
        return torch.where(
            z > 0, 1 - tail, torch.where(z == 0, 0.5 + torch.atan(z) / math.pi, tail)
        )
    z = 2 * z if kind == "tanh" else z
    return torch.where(z > 0, 1 - torch.sigmoid(-z), torch.sigmoid(z))


def dirac(phi: Tensor, eps: Tensor, kind: str) -> Tensor:
    if kind == "arctan":
        return eps / (math.pi * (eps**2 + phi**2))
    z = 2 * phi / eps if kind == "tanh" else phi / eps
    return torch.sigmoid(z) * torch.sigmoid(-z) * (2 if kind == "tanh" else 1) / eps


def sobel(maps: Tensor) -> tuple[Tensor, Tensor]:
    """Derivatives along x and y of (M, H, W) on the inner pixels."""
    rows = maps[:, :-2] + 2 * maps[:, 1:-1] + maps[:, 2:]
    columns = maps[..., :-2] + 2 * maps[..., 1:-1] + maps[..., 2:]
    return (rows[..., 2:] - rows[..., :-2]) / 8, (columns[:, 2:] - columns[:, :-2]) / 8


def curvature(phi: Tensor, eta: float) -> Tensor:
    along_x, along_y = sobel(pad(phi[:, None], (2, 2, 2, 2), mode="replicate")[:, 0])
    norm = torch.sqrt(along_x**2 + along_y**2 + eta)
    return sobel(along_x / norm)[0] + sobel(along_y / norm)[1]


def contour_length(inside: Tensor, isotropic: bool) -> Tensor:
    dx, dy = inside.diff(dim=2), inside.diff(dim=1)
    if not isotropic:
        return dx.abs().sum((1, 2)) + dy.abs().sum((1, 2))
    square = pad(dx, (0, 1)) ** 2 + pad(dy, (0, 0, 0, 1)) ** 2
    return torch.where(square > 0, square.where(square > 0, 1.0).sqrt(), 0.0).sum((1, 2))


def signed_distance(mask: Tensor, truncation: float | None) -> Tensor:
    """By the distances of all pairs of pixels."""
    count, height, width = mask.shape
    pixels = torch.cartesian_prod(torch.arange(height), torch.arange(width)).double()
    own = mask.flatten(1)
    apart = torch.cdist(pixels, pixels, compute_mode="donot_use_mm_for_euclid_dist")
    apart = apart.expand(count, -1, -1).masked_fill(own[:, None] == own[:, :, None], math.inf)
    distance = apart.amin(2) - 0.5
    distance = distance.masked_fill(distance.isinf(), truncation or math.hypot(height, width))
    if truncation is not None:
        distance = (distance / truncation).clamp(max=1)
    return (torch.where(own, distance, -distance)).view_as(mask)


def region_means(features: Tensor, inside: Tensor, domain: Tensor) -> tuple[Tensor, Tensor]:
    """Features (M, C, H, W)."""
    means = []
    for weight in (domain * inside, domain * (1 - inside)):
        area = weight.sum((1, 2)).clamp(min=MINIMUM_AREA)
        means.append((features * weight[:, None]).sum((2, 3)) / area[:, None])
    return means[0], means[1]


def region_energy(
    features: Tensor, inside: Tensor, domain: Tensor, lambda1: Tensor, lambda2: Tensor
) -> Tensor:
    features = features - features.detach().mean((2, 3), keepdim=True)
    first, second = region_means(features, inside, domain)
    inner = ((features - first[..., None, None]) ** 2).sum(1)
    outer = ((features - second[..., None, None]) ** 2).sum(1)
    shares = lambda1 * (domain * inside * inner).sum((1, 2))
    return shares + lambda2 * (domain * (1 - inside) * outer).sum((1, 2))


def evolve_chan_vese(
    phi0: Tensor,
    features: Tensor,
    lambda1: Tensor,
    lambda2: Tensor,
    mu: Tensor,
    eps: Tensor,
    dt: Tensor,
    printed: bool,
    eta: float,
) -> Tensor:
    phi = phi0
    features = features - features.detach().mean((2, 3), keepdim=True)
    for n in range(eps.shape[1]):
        width, step = eps[:, n, None, None], dt[:, n, None, None]
        means = []
        for weight in (heaviside(phi, width, "arctan"), heaviside(-phi, width, "arctan")):
            area = weight.sum((1, 2)).clamp(min=MINIMUM_AREA)
            means.append((features * weight[:, None]).sum((2, 3)) / area[:, None])
        first, second = (
            ((features - mean[..., None, None]) ** 2).mean(1)[:, None] for mean in means
        )
        force = (mu[:, None, None] * curvature(phi, eta))[:, None]
        force = force - lambda1[:, None, None, None] * first + lambda2[:, None, None, None] * second
        speed = dirac(phi, width, "arctan") * (width if printed else 1)
        phi = phi + step * speed * force[:, 0]
    return phi


def tree_weights(guide: Tensor, parent: Tensor, sigma: float) -> tuple[Tensor, Tensor]:
    """The parents (B, V), and the weights of the edges to them, 0 at the root."""
    above = parent.flatten(1)
    maps = guide.flatten(2)
    there = maps.gather(2, above[:, None].expand_as(maps))
    weight = torch.exp(-((maps - there) ** 2).sum(1) / sigma)
    return above, weight * (above != torch.arange(above.shape[1]))


def tree_filter(x: Tensor, guide: Tensor, parent: Tensor, sigma: float) -> Tensor:
    """S x / S 1 with S = L^-1 D L^-T, L = I - N, of x (B, K, H, W) and parents (B, H, W)."""
    count, _, height, width = x.shape
    size = height * width
    above, weight = tree_weights(guide, parent, sigma)
    links = torch.zeros(count, size, size, dtype=x.dtype).scatter(
        2, above[..., None], weight[..., None]
    )
    inverse = torch.linalg.inv(torch.eye(size, dtype=x.dtype) - links)
    similar = inverse @ torch.diag_embed(1 - weight**2) @ inverse.mT
    filtered = (similar[:, None] @ x.flatten(2)[..., None])[..., 0] / similar.sum(2)[:, None]
    return filtered.view_as(x)
