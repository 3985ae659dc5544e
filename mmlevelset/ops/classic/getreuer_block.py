"""One step of Getreuer's semi-implicit Chan-Vese scheme on a block of pixels, in fixed buffers.

D is the data term, C_i is the inverse gradient norm on each of the four sides of a pixel, phi_i the
neighbour there, t = mu dt, and q = 1 + phi^2 is the inverse of the Dirac function. A step is

    phi + (dt D + t sum_i C_i (phi_i - phi)) / (q + t sum_i C_i).

This is the published quotient with phi taken out. So a fixed point stays exactly fixed, and the
stopping rule gets the change of phi without subtracting level sets. D is a polynomial of the image
with coefficients from the region means, so a step reads each channel once for it.

Most of the time goes into passes over memory. So every operation writes into an existing buffer,
and a block is small enough for its buffers to stay in a CPU's cache.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

ETA = 1e-16
"""Added to squared gradients (Getreuer 2012)."""

SCRATCH = 5
"""Buffers that blocks share."""


@dataclass(frozen=True)
class Parameters:
    """Arguments of ``chan_vese`` under the same names."""

    mu: float
    lambda1: float
    lambda2: float
    dt: float
    tol: float
    max_num_iter: int


@dataclass
class DataTerm:
    """dt D = sum_c shares[c] I_c + constant (+ dt (lambda2 - lambda1) mean of I_c^2).

    Shares are tensors (b, 1), or numbers without a batch.
    """

    shares: list[Any]
    constant: Tensor  # (b, 1), or no dimensions


@dataclass
class Sums:
    """Sums over pixels, a value for each image.

    ``change`` sums squared changes of phi; ``area`` and ``channels`` sum over the inside. The
    energy needs the sums of the smoothed length, of atan(phi), and of atan(phi) times each channel
    and times the mean square of the channels.
    """

    change: Any
    area: Any
    channels: list[Any]
    length: Any
    angle: Any
    angle_channels: list[Any]
    angle_square: Any

    @classmethod
    def of(cls, rows: list[Any]) -> "Sums":
        """Make the fields, in their order, from ``rows``."""
        channels = (len(rows) - 5) // 2
        change, area, *rest = rows
        first, (length, angle, *second) = rest[:channels], rest[channels:-1]
        return cls(change, area, first, length, angle, second, rows[-1])

    @staticmethod
    def count(channels: int) -> int:
        return 5 + 2 * channels


@dataclass
class _Axis:
    """Shifted views of a block along one axis; ``reach`` is the distance to the next pixel."""

    head: Tensor  # (b, n + reach), the block and the pixels after it
    tail: Tensor  # (b, n + reach), the pixels before the block and the block
    after: Tensor  # (b, n), next pixels along the other axis
    before: Tensor  # (b, n), previous pixels along the other axis
    difference: Tensor  # (b, n + reach), scratch
    forward: Tensor  # (b, n), its view of the differences to the next pixels
    backward: Tensor  # (b, n), to the previous pixels


class Block:
    """The same rows of all images, as runs of n = rows * (W + 2) pixels.

    The block owns its rows of phi and a border of one pixel around them. So phi is updated in
    place, and all neighbours are shifted views of contiguous memory. Operations also run over the
    border columns. Sums leave these columns out, and each step copies them anew from their
    neighbours. The caller sets the border rows.

    All shapes in this file start with a batch dimension b. Without a batch all shapes lack b, and a
    run is a tensor of one dimension, which is faster.

    Args:
        image: (b, C, rows, W).
        phi: (b, rows, W).
        parameters: See :class:`Parameters`.
        scratch: ``SCRATCH`` buffers with room for b runs and a row each.
        data_term: Read in each step.
        sums: Tensors (b,) in float64, written in each step.
        with_square: Compute the mean square of the channels.
    """

    def __init__(
        self,
        image: Tensor,
        phi: Tensor,
        parameters: Parameters,
        scratch: list[Tensor],
        data_term: DataTerm,
        sums: Sums,
        with_square: bool,
    ) -> None:
        *batch, rows, width = phi.shape
        count = math.prod(batch)
        self.parameters = parameters
        self.data_term = data_term
        self.sums = sums
        self.stride = width + 2
        size = rows * self.stride
        wide = functional.pad(image, (1, 1)).movedim(-3, 0).contiguous()
        self.channels = list(wide.view(len(wide), *batch, size))
        self.square = torch.stack(self.channels).square().mean(0) if with_square else None
        padded = functional.pad(phi.reshape(count, rows, width), (1, 1, 1, 1), mode="replicate")
        self.grid = padded.view(*batch, rows + 2, self.stride)
        padded = self.grid.flatten(-2)
        start, stop = self.stride, self.stride + size
        self.phi = padded[..., start:stop]
        first, *rest = scratch
        self.scratch = [_beginning(buffer, *batch, size) for buffer in rest]
        self.axes = []
        for reach, other in ((1, self.stride), (self.stride, 1)):
            difference = _beginning(first, *batch, size + reach)
            axis = _Axis(
                head=padded[..., start : stop + reach],
                tail=padded[..., start - reach : stop],
                after=padded[..., start + other : stop + other],
                before=padded[..., start - other : stop - other],
                difference=difference,
                forward=difference[..., reach:],
                backward=difference[..., :-reach],
            )
            self.axes.append(axis)
        self.inner = self._inner(self.phi)
        self.border = self._border(self.phi)
        self.edge = self.inner[..., :: max(width - 1, 1)]
        self.inside_border = self._border(self.scratch[0])
        self.change_border = self._border(self.scratch[-1])
        self.eta, self.one, self.zero = phi.new_tensor([ETA, 1.0, 0.0])

    def advance(self, running: Tensor | None) -> None:
        """Make a step of the images that are ``running`` (b, 1), or of all; sum the change."""
        slope, inverse, denominator, numerator = self.scratch
        self._data_term(numerator)
        torch.addcmul(self.one, self.phi, self.phi, out=denominator)
        weight = self.parameters.mu * self.parameters.dt
        for axis in self.axes:
            torch.sub(axis.head, axis.tail, out=axis.difference)
            torch.sub(axis.after, axis.before, out=slope)
            torch.addcmul(self.eta, slope, slope, value=0.25, out=slope)
            for difference, sign in ((axis.forward, 1), (axis.backward, -1)):
                torch.addcmul(slope, difference, difference, out=inverse)
                invert_root(inverse)
                numerator.addcmul_(difference, inverse, value=sign * weight)
                denominator.add_(inverse, alpha=weight)
        change = numerator.div_(denominator)
        if running is not None:
            torch.where(running, change, self.zero, out=change)
        self.change_border.zero_()
        sum_of_products(change, change, inverse, self.sums.change)
        self.phi.add_(change)
        self.border.copy_(self.edge)

    def measure(self) -> None:
        """Sum the area of the inside, and each channel there."""
        inside, product, *_ = self.scratch
        torch.gt(self.phi, 0, out=inside)
        self.inside_border.zero_()
        torch.sum(inside, -1, dtype=torch.float64, out=self.sums.area)
        for channel, total in zip(self.channels, self.sums.channels, strict=True):
            sum_of_products(inside, channel, product, total)

    def measure_energy(self) -> None:
        """Make the sums for the energy."""
        one, other, *_ = self.scratch
        x, y = self.axes
        torch.sub(y.after, y.before, out=one)
        torch.sub(x.after, x.before, out=other)
        torch.addcmul(one.mul_(one), other, other, out=one).sqrt_()
        one.div_(torch.addcmul(self.one, self.phi, self.phi, out=other))
        torch.sum(self._inner(one), (-2, -1), dtype=torch.float64, out=self.sums.length)
        torch.atan(self.phi, out=one)
        torch.sum(self._inner(one), (-2, -1), dtype=torch.float64, out=self.sums.angle)
        for channel, total in zip(self.channels, self.sums.angle_channels, strict=True):
            sum_of_products(one, channel, other, total)
        assert self.square is not None
        sum_of_products(one, self.square, other, self.sums.angle_square)

    def _data_term(self, out: Tensor) -> None:
        """dt D = dt (lambda2 |I - c2|^2 - lambda1 |I - c1|^2), averaged over channels."""
        term = self.data_term
        first, *others = zip(self.channels, term.shares, strict=True)
        if isinstance(first[1], Tensor):
            # A single call with two broadcast operands would not be vectorised.
            torch.mul(*first, out=out).add_(term.constant)
            for channel, share in others:
                out.addcmul_(channel, share)
        else:
            torch.add(term.constant, first[0], alpha=first[1], out=out)
            for channel, number in others:
                out.add_(channel, alpha=number)
        difference = self.parameters.lambda2 - self.parameters.lambda1
        if difference:
            assert self.square is not None
            out.add_(self.square, alpha=self.parameters.dt * difference)

    def _inner(self, run: Tensor) -> Tensor:
        """(b, rows, W) of (b, n)."""
        return run.unflatten(-1, (-1, self.stride))[..., 1:-1]

    def _border(self, run: Tensor) -> Tensor:
        """The border columns (b, rows, 2) of (b, n)."""
        return run.unflatten(-1, (-1, self.stride))[..., :: self.stride - 1]


def _beginning(buffer: Tensor, *shape: int) -> Tensor:
    return buffer[: math.prod(shape)].view(shape)


def invert_root(values: Tensor) -> None:
    """1 / sqrt(values), in place."""
    if values.device.type == "cpu":
        values.sqrt_().reciprocal_()  # faster than rsqrt in float64
    else:
        values.rsqrt_()


def sum_of_products(x: Tensor, y: Tensor, scratch: Tensor, out: Tensor) -> None:
    """Sums (b,) of x * y, both (b, n), in float64."""
    if x.dtype == torch.float64 and x.ndim == 1:
        torch.dot(x, y, out=out)
    else:
        torch.sum(torch.mul(x, y, out=scratch), -1, dtype=torch.float64, out=out)
