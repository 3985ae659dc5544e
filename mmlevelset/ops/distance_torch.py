"""Signed distances in plain PyTorch, for any device: no step waits for a GPU."""

import math

import torch
from torch import Tensor

_PIXELS = 2**25
"""Pixels of masks that are processed together; limits the memory."""
_PIXELS_ON_CPU = 2**18
"""The same on a CPU, so that the buffers stay in the cache."""
_NARROW = 126
"""Largest reach for 16 bits, twice as fast as 32: they hold 2 (reach + 1)^2."""


def distances(
    mask: Tensor, truncation: float | None, steps: tuple[float, ...], out: Tensor
) -> None:
    """Write the signed distances of (M, H, W) or (M, D, H, W), which are not empty."""
    pixels = math.prod(mask.shape[1:])
    size = max(1, (_PIXELS_ON_CPU if mask.device.type == "cpu" else _PIXELS) // pixels)
    diagonal = math.hypot(*(s * n for s, n in zip(steps, mask.shape[1:], strict=True)))
    compute = _of_square_pixels if steps == (1.0, 1.0) else _of_any_spacing
    for some, distance in zip(mask.split(size), out.split(size), strict=True):
        compute(some, truncation, steps, diagonal, distance)


def _of_square_pixels(
    mask: Tensor,
    truncation: float | None,
    steps: tuple[float, ...],
    diagonal: float,
    distance: Tensor,
) -> None:
    reach = math.ceil(diagonal if truncation is None else min(diagonal, truncation + 0.5))
    square = _signed_square(mask, reach)
    distance.copy_(square).abs_().sqrt_().sub_(0.5)
    # reach squared may exceed 16 bits; squares are held in 16 bits only if none is larger.
    limit = min(reach * reach, torch.iinfo(square.dtype).max)
    distance.masked_fill_(square.abs() > limit, truncation or diagonal)
    if truncation is not None:
        distance.div_(truncation).clamp_(max=1)
    distance.copysign_(square)


def _of_any_spacing(
    mask: Tensor,
    truncation: float | None,
    steps: tuple[float, ...],
    diagonal: float,
    distance: Tensor,
) -> None:
    """Axis by axis, a pixel takes the smallest of its line's squares plus squared distances."""
    reach = diagonal if truncation is None else truncation + min(steps) / 2
    for side in (True, False):
        square = torch.where(mask == side, math.inf, 0.0).double()
        for axis, step in enumerate(steps, 1):
            before = square.clone()
            length = square.shape[axis]
            for apart in range(1, min(length - 1, math.ceil(reach / step)) + 1):
                add = (apart * step) ** 2
                for far, near in ((0, apart), (apart, 0)):
                    there = square.narrow(axis, near, length - apart)
                    other = before.narrow(axis, far, length - apart)
                    torch.minimum(there, other + add, out=there)
        value = square.sqrt() - min(steps) / 2
        value = torch.where(square.isinf(), truncation or diagonal, value)
        if truncation is not None:
            value = (value / truncation).clamp(max=1)
        distance.copy_(torch.where(mask == side, value if side else -value, distance))


def _signed_square(mask: Tensor, reach: int) -> Tensor:
    """Squared distance to the nearest pixel of the other side, negative outside.

    The square is exact up to ``reach ** 2``; beyond, it is some larger number.
    """
    if mask.device.type != "cpu" or reach <= _NARROW:
        return _signed_square_within(mask, reach)
    # Few masks have a pixel so far from the boundary. On a GPU this check would wait for it.
    square = _signed_square_within(mask, _NARROW)
    farther = (square.abs() > _NARROW**2).flatten(1).any(1)
    if farther.any():
        exact = _signed_square_within(mask[farther], reach)
        square = square.to(exact.dtype)
        square[farther] = exact
    return square


def _signed_square_within(mask: Tensor, reach: int) -> Tensor:
    _, height, width = mask.shape
    far = reach + 1
    dtype = next(
        dtype
        for dtype in (torch.int16, torch.int32, torch.int64)
        if 2 * far * far <= torch.iinfo(dtype).max
    )
    # Distance along the row: 1 beside a change of side; then each pixel takes the minimum over the
    # pixels 1, 2, 4, ... away, plus their distance.
    row = torch.full(mask.shape, far, dtype=dtype, device=mask.device)
    change = mask[..., 1:] != mask[..., :-1]
    row[..., 1:].masked_fill_(change, 1)
    row[..., :-1].masked_fill_(change, 1)
    hop = 1
    while hop < min(reach, width):
        hopped = row + hop
        torch.minimum(row[..., hop:], hopped[..., :-hop], out=row[..., hop:])
        torch.minimum(row[..., :-hop], hopped[..., hop:], out=row[..., :-hop])
        hop *= 2
    # Over the rows: a pixel inside takes the smallest upper + step^2, a pixel outside the largest
    # lower - step^2. For each pixel the other bound has the other sign and does nothing.
    upper = row.square_() * mask
    lower = upper - row
    square = upper + lower
    on_cpu = mask.device.type == "cpu"
    for step in range(1, min(reach, height - 1) + 1):
        upper.add_(2 * step - 1)
        lower.sub_(2 * step - 1)
        square[:, step:].clamp_(lower[:, :-step], upper[:, :-step])
        square[:, :-step].clamp_(lower[:, step:], upper[:, step:])
        if on_cpu and step % 8 == 0 and square.abs().max() <= step * step:
            break
    return square
