"""The semi-implicit Chan-Vese iteration of a batch; each image stops by itself."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from mmlevelset.ops.classic.getreuer_block import SCRATCH, Block, DataTerm, Parameters, Sums
from mmlevelset.ops.classic.iterations import iterate

PIXELS_PER_THREAD = 32768
"""Number of elements for which torch's elementwise operations take another thread."""


@dataclass(frozen=True)
class Solution:
    """Level sets (B, H, W), iterations of each image, and energies before each iteration."""

    phi: Tensor
    iterations: list[int]
    energies: list[list[float]]


def solve(
    image: Tensor,
    phi: Tensor,
    parameters: Parameters,
    *,
    with_energies: bool = False,
    check_every: int | None = None,
    block_pixels: int | None = None,
) -> Solution:
    """Iterate until every image has stopped; images do not influence each other.

    On a CPU images are solved one after another, small images in groups and large images in blocks
    of rows, so that most data stays in the cache. Other devices solve all images at once.

    Args:
        image: (B, C, H, W), floating point, normalised.
        phi: Initial level sets (B, H, W), of the image's dtype and device.
        parameters: See :class:`Parameters`.
        with_energies: Compute energies.
        check_every: Iterations between two checks of the stopping rule by the host; by default 1 on
            a CPU and 16 on other devices. The result does not depend on it: between two checks, an
            image that has stopped does not change. On CUDA these iterations are one graph.
        block_pixels: Pixels of a block; by default a size that suits the device.
    """
    if not len(image):
        return Solution(phi, [], [])
    on_cpu = image.device.type == "cpu"
    if block_pixels is None:
        block_pixels = PIXELS_PER_THREAD * torch.get_num_threads() if on_cpu else image.numel()
    together = max(1, block_pixels // math.prod(phi.shape[1:]))
    parts = []
    for some, start in zip(image.split(together), phi.split(together), strict=True):
        if on_cpu and len(some) == 1:
            part = _solve_one(some[0], start[0], parameters, with_energies, block_pixels)
        else:
            part = _solve_together(
                some, start, parameters, with_energies, check_every, block_pixels
            )
        parts.append(part)
    return Solution(
        torch.cat([part.phi for part in parts]),
        [number for part in parts for number in part.iterations],
        [energies for part in parts for energies in part.energies],
    )


def _solve_together(
    image: Tensor,
    phi: Tensor,
    parameters: Parameters,
    with_energies: bool,
    check_every: int | None,
    block_pixels: int,
) -> Solution:
    scheme = _Scheme(image, phi, parameters, with_energies, block_pixels)
    iterations, energies = iterate(
        scheme,
        image[:, 0, 0, 0],
        parameters.tol,
        parameters.max_num_iter,
        check_every,
        with_energies,
    )
    made = iterations.tolist()
    history = energies.T.tolist()
    kept = [values[:number] for values, number in zip(history, made, strict=True)]
    return Solution(scheme.level_sets(), made, kept)


def _solve_one(
    image: Tensor, phi: Tensor, parameters: Parameters, with_energies: bool, block_pixels: int
) -> Solution:
    """Solve one image (C, H, W) on a CPU, where numbers are cheaper than small tensors."""
    scheme = _Scheme(image, phi, parameters, with_energies, block_pixels)
    iterations = 0
    energies = []
    while iterations < parameters.max_num_iter:
        if with_energies:
            energies.append(scheme.energy())
        iterations += 1
        if not scheme.step() > parameters.tol:
            break
    return Solution(scheme.level_sets()[None], [iterations], [energies])


class _Scheme:
    """Blocks of rows that share the region means and the rows at their seams.

    Values for each image are tensors (B,), or numbers without a batch.
    """

    def __init__(
        self,
        image: Tensor,
        phi: Tensor,
        parameters: Parameters,
        with_energies: bool,
        block_pixels: int,
    ) -> None:
        *batch, channels, height, width = image.shape
        self.parameters = parameters
        self.pixels = height * width
        self.total = self._values(image.sum((-2, -1), dtype=torch.float64).movedim(-1, 0))
        if with_energies:
            squares = image.double().square().mean(-3).sum((-2, -1))
            (self.total_square,) = self._values(squares[None])
        constant = phi.new_empty([*batch, 1] if batch else [])
        shares: list[Any] = [torch.empty_like(constant) if batch else 0.0 for _ in range(channels)]
        self.data_term = DataTerm(shares, constant)

        pieces = max(1, round(phi.numel() / block_pixels))
        rows = math.ceil(height / pieces)
        parts = list(zip(image.split(rows, -2), phi.split(rows, -2), strict=True))
        self.partial = torch.zeros(
            len(parts), Sums.count(channels), *batch, dtype=torch.float64, device=phi.device
        )
        # Separate tensors, so that each begins at the start of a cache line.
        scratch = [
            phi.new_empty(math.prod(batch) * (rows + 1) * (width + 2)) for _ in range(SCRATCH)
        ]
        self.blocks = [
            Block(
                image_part,
                phi_part,
                parameters,
                scratch,
                self.data_term,
                Sums.of(list(table)),
                with_square=with_energies or parameters.lambda1 != parameters.lambda2,
            )
            for (image_part, phi_part), table in zip(parts, self.partial, strict=True)
        ]
        self.seams = list(self._seams())
        self._join()
        for block in self.blocks:
            block.measure()
        self._balance()

    def step(self, running: Tensor | None = None) -> Any:
        """Make an iteration; return the root mean square change of each image.

        If ``running`` (B,) is given, the level sets of other images do not change.
        """
        keep = None if running is None else running[:, None]
        for block in self.blocks:
            block.advance(keep)
            block.measure()
        self._join()
        return self._balance()

    def level_sets(self) -> Tensor:
        """(B, H, W)."""
        return torch.cat([block.inner for block in self.blocks], -2)

    def energy(self) -> Any:
        """Energy of the present level sets."""
        for block in self.blocks:
            block.measure_energy()
        sums = self._sums()
        # H = 1/2 + atan(phi) / pi; the squared distance to a mean is a difference of squares.
        area = self.pixels / 2 + sums.angle / math.pi
        inside = [
            whole / 2 + part / math.pi
            for whole, part in zip(self.total, sums.angle_channels, strict=True)
        ]
        square = self.total_square / 2 + sums.angle_square / math.pi
        first, second = self._means(inside, area)
        inner = square - _mean_of_squares(first) * area
        outer = self.total_square - square - _mean_of_squares(second) * (self.pixels - area)
        lambda1, lambda2 = self.parameters.lambda1, self.parameters.lambda2
        return lambda1 * inner + lambda2 * outer + self.parameters.mu / 2 * sums.length

    def _balance(self) -> Any:
        """Set the data term from the region means; return the root mean square change."""
        lambda1, lambda2, dt = self.parameters.lambda1, self.parameters.lambda2, self.parameters.dt
        sums = self._sums()
        first, second = self._means(sums.channels, sums.area)
        factor = 2 * dt / len(first)
        shares = [(lambda1 * a - lambda2 * b) * factor for a, b in zip(first, second, strict=True)]
        constant = (lambda2 * _mean_of_squares(second) - lambda1 * _mean_of_squares(first)) * dt
        if isinstance(constant, Tensor):
            for kept, share in zip(self.data_term.shares, shares, strict=True):
                kept.copy_(share[:, None])
            self.data_term.constant.copy_(constant[:, None])
        else:
            self.data_term.shares = shares
            self.data_term.constant.fill_(constant)
        return (sums.change / self.pixels) ** 0.5

    def _means(self, inside: list[Any], area: Any) -> tuple[list[Any], list[Any]]:
        """Mean of each channel inside and outside; 0 without pixels, as in scikit-image."""
        rest = self.pixels - area
        first = [value / (area + (area == 0)) for value in inside]
        second = [
            (whole - value) / (rest + (rest == 0))
            for whole, value in zip(self.total, inside, strict=True)
        ]
        return first, second

    def _sums(self) -> Sums:
        return Sums.of(self._values(self.partial.sum(0)))

    def _values(self, table: Tensor) -> list[Any]:
        """The rows (B,) of a table, or its numbers without a batch."""
        return list(table) if table.ndim == 2 else table.tolist()

    def _seams(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield each border row with the row that it copies, of the next block or of its own."""
        grids = [block.grid for block in self.blocks]
        yield grids[0][..., 0, :], grids[0][..., 1, :]
        for upper, lower in pairwise(grids):
            yield upper[..., -1, :], lower[..., 1, :]
            yield lower[..., 0, :], upper[..., -2, :]
        yield grids[-1][..., -1, :], grids[-1][..., -2, :]

    def _join(self) -> None:
        for border, row in self.seams:
            border.copy_(row)


def _mean_of_squares(values: list[Any]) -> Any:
    return sum(value * value for value in values) / len(values)
