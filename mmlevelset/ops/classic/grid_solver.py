"""The semi-implicit Chan-Vese iteration on grids of any spacing: volumes, and wide pixels.

The scheme is that of ``getreuer_block``, with a neighbour on each side along each axis. The weight
of a side is 1 / (s^2 |grad phi|), where s is the spacing along its axis. A slab of planes is
computed at a time, so besides the image only two copies of phi have its size.
"""

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from mmlevelset.ops.classic.getreuer_block import ETA, Parameters
from mmlevelset.ops.classic.getreuer_solver import Solution
from mmlevelset.ops.classic.iterations import iterate

SLAB = 2**18
"""Pixels or voxels of a slab."""


def solve_on_grid(
    image: Tensor,
    phi: Tensor,
    parameters: Parameters,
    spacing: tuple[float, ...],
    with_energies: bool,
    check_every: int | None = None,
) -> Solution:
    """Solve images (B, C, *S), normalised, from phi (B, *S), one after another.

    ``check_every`` is as for :func:`mmlevelset.ops.classic.getreuer_solver.solve`.
    """
    phis, iterations, histories = [phi[:0]], [], []
    for one, start in zip(image, phi, strict=True):
        solver = _Grid(one, start.clone(), parameters, spacing)
        made, energies = iterate(
            solver,
            one.new_empty(()),
            parameters.tol,
            parameters.max_num_iter,
            check_every,
            with_energies,
        )
        phis.append(solver.phi[None])
        iterations.append(int(made))
        histories.append(energies[: int(made)].tolist())
    return Solution(torch.cat(phis), iterations, histories)


class _Grid:
    def __init__(
        self, image: Tensor, phi: Tensor, parameters: Parameters, spacing: tuple[float, ...]
    ) -> None:
        self.image, self.phi, self.parameters, self.spacing = image, phi, parameters, spacing
        self.other = torch.empty_like(phi)
        self.planes = max(1, SLAB // max(1, math.prod(phi.shape[1:])))

    def step(self, running: Tensor | None) -> Tensor:
        """Make an iteration if ``running``; return the root mean square change of phi."""
        p = self.parameters
        first, second = self._means(lambda phi: (phi > 0).to(phi))
        change = self.phi.new_zeros((), dtype=torch.float64)
        for start, stop in self._slabs():
            phi, image = self.phi[start:stop], self.image[:, start:stop]
            pull, weights = self._length(self._wide(start, stop), phi)
            force = p.lambda2 * _squares(image, second) - p.lambda1 * _squares(image, first)
            speed = p.dt / (1 + phi * phi)
            moved = (speed * (p.mu * pull + force)) / (1 + p.mu * speed * weights)
            if running is not None:
                moved.masked_fill_(running.logical_not(), 0.0)
            torch.add(phi, moved, out=self.other[start:stop])
            change += moved.square().sum(dtype=torch.float64)
        self.phi, self.other = self.other, self.phi
        return (change / self.phi.numel()).sqrt()

    def energy(self) -> Tensor:
        p = self.parameters
        first, second = self._means(lambda phi: 0.5 + torch.atan(phi) / math.pi)
        total = self.phi.new_zeros((), dtype=torch.float64)
        for start, stop in self._slabs():
            phi, image = self.phi[start:stop], self.image[:, start:stop]
            share = 0.5 + torch.atan(phi) / math.pi
            slopes = self._central(self._wide(start, stop))
            length = torch.stack(slopes).square().sum(0).sqrt() / (1 + phi * phi)
            sums = p.lambda1 * share * _squares(image, first) + p.mu * length
            sums += p.lambda2 * (1 - share) * _squares(image, second)
            total += sums.sum(dtype=torch.float64)
        return total * math.prod(self.spacing)

    def _slabs(self) -> Iterator[tuple[int, int]]:
        for start in range(0, len(self.phi), self.planes):
            yield start, min(start + self.planes, len(self.phi))

    def _wide(self, start: int, stop: int) -> Tensor:
        """A slab with a border of one, which repeats the border of the grid."""
        wide = self.phi[max(0, start - 1) : stop + 1]
        if start == 0:
            wide = torch.cat([wide[:1], wide])
        if stop == len(self.phi):
            wide = torch.cat([wide, wide[-1:]])
        for axis in range(1, wide.ndim):
            last = wide.narrow(axis, wide.shape[axis] - 1, 1)
            wide = torch.cat([wide.narrow(axis, 0, 1), wide, last], axis)
        return wide

    def _sides(self, wide: Tensor, axis: int) -> tuple[Tensor, Tensor]:
        """The next and the previous neighbours along an axis."""
        inner = [slice(1, -1)] * wide.ndim
        after, before = inner.copy(), inner.copy()
        after[axis], before[axis] = slice(2, None), slice(0, -2)
        return wide[tuple(after)], wide[tuple(before)]

    def _central(self, wide: Tensor) -> list[Tensor]:
        slopes = []
        for axis, step in enumerate(self.spacing):
            after, before = self._sides(wide, axis)
            slopes.append((after - before) / (2 * step))
        return slopes

    def _length(self, wide: Tensor, phi: Tensor) -> tuple[Tensor, Tensor]:
        """Sums over the sides of weight times (neighbour - phi), and of the weights."""
        pull, weights = torch.zeros_like(phi), torch.zeros_like(phi)
        slopes = self._central(wide)
        for axis, step in enumerate(self.spacing):
            across = torch.full_like(phi, ETA)
            for other, slope in enumerate(slopes):
                if other != axis:
                    across.addcmul_(slope, slope)
            for side in self._sides(wide, axis):
                difference = side - phi
                weight = torch.addcmul(across, difference, difference, value=1 / step**2)
                weight = weight.rsqrt_().div_(step**2)
                pull.addcmul_(weight, difference)
                weights += weight
        return pull, weights

    def _means(self, share) -> tuple[Tensor, Tensor]:
        """Mean of each channel (C,) inside and outside; 0 without pixels, as in scikit-image."""
        total = torch.zeros(2, len(self.image), dtype=torch.float64, device=self.phi.device)
        area = torch.zeros(2, 1, dtype=torch.float64, device=self.phi.device)
        for start, stop in self._slabs():
            inside = share(self.phi[start:stop]).double()
            for row, weight in enumerate((inside, 1 - inside)):
                area[row] += weight.sum()
                for channel, values in enumerate(self.image[:, start:stop]):
                    total[row, channel] += (values * weight).sum()
        means = (total / area.masked_fill(area == 0, 1.0)).to(self.phi.dtype)
        return means[0], means[1]


def _squares(image: Tensor, mean: Tensor) -> Tensor:
    """Mean over channels of squared distances; one channel at a time."""
    total = torch.zeros_like(image[0])
    for values, level in zip(image, mean, strict=True):
        total += (values - level).square()
    return total / len(image)
