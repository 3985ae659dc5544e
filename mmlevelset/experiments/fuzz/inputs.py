"""Random inputs of each op, with the extremes that its documentation allows."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from mmlevelset import ops
from mmlevelset.experiments.fuzz import definitions

TRUNCATIONS = (None, 0.25, 1.0, 3.0, 50.0)


@dataclass
class Case:
    """An op on M inputs, and its definition.

    Attributes:
        inputs: Tensors by name, M rows each; the op and the definition take them by name.
        op: Gives a tensor, or a tuple of tensors, with M rows.
        definition: The same from inputs in float64.
        slack: What rounding in float64 may add to the error, by the name of an output or an
            input's gradient: (M,) or a number.
        each: Whether every number has to be right; else errors are measured by the largest number
            of the input's row.
    """

    inputs: dict[str, Tensor]
    op: Callable[..., Any]
    definition: Callable[..., Any]
    slack: dict[str, Tensor] = field(default_factory=dict)
    each: bool = False
    rounding: float = 64
    """How many times the rounding of the type of the computation, and of the inputs, is allowed."""


class Draw:
    """Random numbers of a batch of M inputs in one type."""

    def __init__(self, count: int, dtype: torch.dtype, seed: int) -> None:
        self.count, self.dtype = count, dtype
        self.random = torch.Generator().manual_seed(seed)
        # Magnitudes for which the documents promise finite results.
        self.huge, self.tiny = {
            torch.float16: (1e4, 1e-6),
            torch.bfloat16: (1e30, 1e-30),
            torch.float32: (1e30, 1e-30),
            torch.float64: (1e100, 1e-100),
        }[dtype]

    def uniform(self, *shape: int) -> Tensor:
        return torch.rand(self.count, *shape, generator=self.random, dtype=torch.float64)

    def normal(self, *shape: int) -> Tensor:
        return torch.randn(self.count, *shape, generator=self.random, dtype=torch.float64)

    def choose(self, *values: Any) -> Any:
        return values[int(torch.randint(len(values), (), generator=self.random))]

    def mixed(self, values: list[float], *shape: int) -> Tensor:
        """A number for each of the M inputs (M, 1, ...)."""
        picked = torch.tensor(values, dtype=torch.float64)
        index = torch.randint(len(values), (self.count,), generator=self.random)
        return picked[index].view(-1, *[1] * len(shape))

    def size(self, most: int = 9) -> tuple[int, int]:
        height, width = torch.randint(1, most + 1, (2,), generator=self.random).tolist()
        return self.choose((1, 1), (1, width), (height, 1), *[(height, width)] * 7)

    def level_sets(self, height: int, width: int, scales: list[float]) -> Tensor:
        """Noise, flat maps and truncated planes, of mixed magnitudes."""
        noise = self.normal(height, width)
        x = torch.arange(width, dtype=torch.float64)
        plane = (x - self.uniform(1, 1) * width).clamp(-1, 1).expand(-1, height, -1)
        kind = self.mixed([0, 1, 2, 3], 1, 1)
        maps = torch.where(kind == 0, plane, noise)
        maps = torch.where(kind == 1, self.normal(1, 1), maps)
        maps = torch.where(kind == 2, noise.round(), maps)
        return (maps * self.mixed(scales, 1, 1)).to(self.dtype)

    def features(self, channels: int, height: int, width: int, scales: list[float]) -> Tensor:
        """Noise, two flat values, constants, bytes, and values far from zero."""
        noise = self.normal(channels, height, width)
        kind = self.mixed([0, 1, 2, 3, 4], 1, 1, 1)
        maps = torch.where(kind == 0, (noise > 0) * self.normal(channels, 1, 1), noise)
        maps = torch.where(kind == 1, self.normal(channels, 1, 1), maps)
        maps = torch.where(kind == 2, (noise * 50 + 100).clamp(0, 255).round(), maps)
        maps = torch.where(kind == 3, maps + 100, maps)
        return (maps * self.mixed(scales, 1, 1, 1)).to(self.dtype)

    def shares(self, height: int, width: int) -> Tensor:
        """Soft masks, exact masks, full and empty masks, and masks that are nearly so."""
        kind = self.mixed([0, 1, 2, 3, 4, 5], 1, 1)
        noise = self.uniform(height, width)
        maps = torch.where(kind == 0, (noise < self.uniform(1, 1)).double(), noise)
        maps = torch.where(kind == 1, self.mixed([0.0, 1.0], 1, 1), maps)
        maps = torch.where(kind == 2, noise * 1e-4, maps)
        maps = torch.where(kind == 3, 1 - noise * 1e-2, maps)
        return maps.to(self.dtype)

    def domains(self, height: int, width: int) -> Tensor:
        """All ones, boxes, weights with zeros, nothing."""
        kind = self.mixed([0, 1, 2, 3, 3], 1, 1)
        noise = self.uniform(height, width)
        x, y = torch.arange(width), torch.arange(height)[:, None]
        box = (x < self.uniform(1, 1) * width + 1) & (y < self.uniform(1, 1) * height + 1)
        maps = torch.where(kind == 0, box.double(), torch.ones_like(noise))
        maps = torch.where(kind == 1, noise * (noise > self.uniform(1, 1)), maps)
        maps = torch.where((kind == 2) & (self.uniform(1, 1) < 0.3), 0.0, maps)
        return maps.to(self.dtype)


def _soft(draw: Draw, name: str) -> Case:
    kind = draw.choose("arctan", "tanh", "sigmoid")
    shape = (8,)
    widths = (
        [1.0, 0.1, 1e-3, 30.0] if draw.dtype == torch.float16 else [1, 1e-3, 1e-15, 1e-12, 1e15]
    )
    eps = (draw.mixed(widths, 1) * (1 + draw.uniform(1))).expand(draw.count, *shape)
    scale = draw.mixed([1.0, 1.0, draw.tiny, draw.huge, 0.0], 1)
    near = draw.mixed([0.0, 1.0], 1)
    phi = draw.normal(*shape) * (near * eps + (1 - near) * scale)
    limit = draw.huge * 5
    inputs = dict(phi=phi.clamp(-limit, limit).to(draw.dtype), eps=eps.to(draw.dtype).contiguous())
    inputs["eps"] = inputs["eps"].clamp(min=1e-15 if draw.dtype != torch.float16 else 1e-4)
    function, definition = getattr(ops, name), getattr(definitions, name)
    width = inputs["eps"][:, 0].double()
    slack = {}
    if draw.dtype != torch.float64:  # factors below the smallest normal number are less precise
        slack = dict.fromkeys(("output 0", "phi", "eps"), 1e-36 / width.clamp(max=1))
    if name == "dirac":  # its derivatives are zero at phi = 0 and near |phi| = eps
        unit = 1e-14 if draw.dtype == torch.float64 else 1e-6
        slack |= {key: slack.get(key, 0.0) + unit / width**2 for key in ("phi", "eps")}
    return Case(
        inputs,
        lambda phi, eps: function(phi, eps, kind),
        lambda phi, eps: definition(phi, eps, kind),
        slack=slack,
        each=True,
    )


def heaviside(draw: Draw) -> Case:
    return _soft(draw, "heaviside")


def dirac(draw: Draw) -> Case:
    return _soft(draw, "dirac")


def curvature(draw: Draw) -> Case:
    eta = draw.choose(1e-4, 1e-8, 1e-16, 1e-20, 1.0)
    height, width = draw.size()
    phi = draw.level_sets(height, width, [1.0, 1.0, draw.tiny, draw.huge, 100.0])
    # The documents exclude what is flat beside huge values.
    noise = (draw.huge * draw.normal(height, width)).to(draw.dtype)
    phi = torch.where(phi.abs().amax((1, 2), keepdim=True) > 1e15, noise, phi)
    # n = g / |g| is rounded; its derivative, |g|^-1 at most, is a difference of such numbers.
    wide = pad(phi.double()[:, None], (2, 2, 2, 2), mode="replicate")[:, 0]
    steepness = sum(slope.square() for slope in definitions.sobel(wide)) + eta
    unit = 1e-13 if draw.dtype == torch.float64 else 4e-6
    return Case(
        dict(phi=phi),
        lambda phi: ops.curvature(phi, eta),
        lambda phi: definitions.curvature(phi, eta),
        slack=dict(phi=unit * steepness.rsqrt().amax((1, 2))),
    )


def contour_length(draw: Draw) -> Case:
    isotropic = draw.choose(True, False)
    inside = draw.shares(*draw.size())
    if draw.choose(True, False):
        inside = inside * draw.tiny
    return Case(
        dict(inside=inside),
        lambda inside: ops.contour_length(inside, isotropic),
        lambda inside: definitions.contour_length(inside, isotropic),
    )


def signed_distance(draw: Draw) -> Case:
    truncation = draw.choose(*TRUNCATIONS)
    height, width = draw.size()
    mask = draw.uniform(height, width) < draw.mixed([0.0, 0.02, 0.3, 0.5, 0.9, 0.98, 1.0], 1, 1)
    return Case(
        dict(mask=mask),
        lambda mask: ops.signed_distance(mask, truncation),
        lambda mask: definitions.signed_distance(mask, truncation),
    )


def _regions(draw: Draw) -> tuple[dict[str, Tensor], Tensor, Tensor]:
    """Inputs, and the largest value and the largest distance from the mean of the features."""
    height, width = draw.size()
    scales = [1.0, 1.0, draw.tiny, draw.huge / 1e3]
    features = draw.features(draw.choose(1, 3), height, width, scales)
    inputs = dict(features=features, inside=draw.shares(height, width))
    inputs["domain"] = draw.domains(height, width)
    values = features.double()
    spread = (values - values.mean((2, 3), keepdim=True)).abs().amax((1, 2, 3))
    return inputs, values.abs().amax((1, 2, 3)), spread


def region_means(draw: Draw) -> Case:
    inputs, largest, _ = _regions(draw)
    domain = inputs["domain"].double()
    areas = [(domain * share).sum((1, 2)) for share in (inputs["inside"].double(),)]
    areas.append((domain * (1 - inputs["inside"].double())).sum((1, 2)))
    smallest = torch.stack(areas).amin(0).clamp(min=definitions.MINIMUM_AREA)
    through = 1e-12 * largest / smallest
    return Case(
        inputs,
        ops.region_means,
        definitions.region_means,
        slack=dict(inside=through, domain=through),
    )


def region_energy(draw: Draw) -> Case:
    inputs, _, spread = _regions(draw)
    inputs["lambda1"], inputs["lambda2"] = (
        draw.uniform().to(draw.dtype),
        draw.uniform().to(draw.dtype),
    )
    pixels = inputs["inside"][0].numel() * inputs["features"].shape[1]
    square = 1e-13 * spread**2 * pixels
    slack = dict.fromkeys(("output 0", "inside", "domain", "lambda1", "lambda2"), square)
    return Case(
        inputs,
        ops.region_energy,
        definitions.region_energy,
        slack=slack | dict(features=1e-13 * spread * pixels),
    )


def evolve_chan_vese(draw: Draw) -> Case:
    printed, eta = draw.choose(True, False), draw.choose(1e-4, 1e-4, 1e-2, 1e-8)
    height, width = draw.size(7)
    steps = draw.choose(0, 1, 2)
    half = draw.dtype in (torch.float16, torch.bfloat16)
    extremes = [1e-12, 1e12] if printed else []  # 1 / eps multiplies the rounding of the force
    widths = [1.0, 1.0, 0.1, 10.0] + ([] if half else extremes)
    eps = (draw.mixed(widths, 1) * (1 + draw.uniform(1))).expand(-1, steps)
    inputs = dict(
        phi0=draw.level_sets(height, width, [1.0, 1.0, 3.0, 100.0, draw.tiny]),
        features=draw.features(draw.choose(1, 3), height, width, [1.0, 0.1, 0.01, 1e-6]),
        **{name: draw.uniform().to(draw.dtype) for name in ("lambda1", "lambda2", "mu")},
        eps=eps.clamp(1e-12, 1e12).to(draw.dtype).contiguous(),
        dt=(draw.uniform(steps) * draw.choose(1.0, 0.0, 0.1)).to(draw.dtype),
    )
    if not half:
        inputs["eps"] = inputs["eps"].clamp(1.001e-12, 0.999e12)
    options = dict(delta="printed" if printed else "derivative", eta=eta)
    values = inputs["features"].double()
    spread = (values - values.mean((2, 3), keepdim=True)).abs().amax((1, 2, 3)) + draw.tiny
    pixels = height * width
    # Terms of each gradient that may cancel: |F - c|^2, and a curvature of at most 2.
    unit = 1e-13 if draw.dtype == torch.float64 else 1e-5
    sizes = dict.fromkeys(("lambda1", "lambda2"), spread**2)
    sizes |= dict(mu=2 + 0 * spread, dt=spread**2 + 2, features=spread)
    sizes["phi0"] = spread**2 + eta**-0.5
    if steps:
        sizes["eps"] = (spread**2 + 2) / eps[:, 0].double()
    slack = {name: unit * pixels * size for name, size in sizes.items()}
    return Case(
        inputs,
        lambda **given: ops.evolve_chan_vese(**given, **options),
        lambda **given: definitions.evolve_chan_vese(**given, printed=printed, eta=eta),
        slack=slack,
        rounding=4096,
    )


def tree_filter(draw: Draw) -> Case:
    sigma = draw.choose(1.0, 0.02, 50.0)
    height, width = draw.size(5)
    guide = draw.features(draw.choose(1, 3), height, width, [1.0, 0.1, 0.01])
    tree = ops.minimum_spanning_tree(guide)
    x = draw.features(2, height, width, [1.0, draw.tiny, draw.huge / 1e3])
    largest = [values.double().abs().amax((1, 2, 3)) for values in (x, guide)]
    weights = definitions.tree_weights(guide.double(), tree.parent, sigma)[1].amax(1)
    unit = 1e-13 if draw.dtype == torch.float64 else 1e-5
    slack = (unit * weights + 1e-36) * largest[0] * largest[1] / sigma
    return Case(
        dict(x=x, guide=guide),
        lambda x, guide: ops.tree_filter(x, tree, guide, sigma),
        lambda x, guide: definitions.tree_filter(x, guide, tree.parent, sigma),
        # Differences of weighted values; weights below the smallest normal number are less precise.
        slack=dict(guide=slack),
    )


CASES: dict[str, Callable[[Draw], Case]] = {
    function.__name__: function
    for function in (
        heaviside,
        dirac,
        curvature,
        contour_length,
        signed_distance,
        region_means,
        region_energy,
        evolve_chan_vese,
        tree_filter,
    )
}
