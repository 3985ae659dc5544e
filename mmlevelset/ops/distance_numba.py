"""Signed distances on a CPU, compiled by Numba at their first call.

The squared distance to a set is taken axis by axis: along the rows of pixels by a scan, along the
other axes as the lower envelope of a parabola for each pixel (Felzenszwalb and Huttenlocher,
Theory of Computing 8, 2012). Squares are held in float64, so they are exact for spacing 1.
"""

import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from mmlevelset.ops.compiled import compiled


def distances(
    mask: Tensor, truncation: float | None, steps: tuple[float, ...], out: Tensor
) -> None:
    """Write the signed distances of contiguous (M, H, W) or (M, D, H, W), which are not empty."""
    diagonal = math.hypot(*(s * n for s, n in zip(steps, mask.shape[1:], strict=True)))
    if len(steps) == 2:
        mask, out, steps = mask[:, None], out[:, None], (1.0, *steps)
        half = min(steps[1:]) / 2
    else:
        half = min(steps) / 2
    unit = truncation or 1.0
    limit = math.inf if truncation is None else 1.0
    largest = diagonal if truncation is None else 1.0
    squares = np.array([step * step for step in steps])

    def fill(one: np.ndarray, result: np.ndarray) -> None:
        _signed_distance(one, squares, half, unit, limit, largest, result)

    pairs = zip(mask.numpy(), out.numpy(), strict=True)
    threads = min(torch.get_num_threads(), len(mask))
    if threads == 1:
        for pair in pairs:
            fill(*pair)
        return
    with ThreadPoolExecutor(threads) as pool:  # the kernel holds no lock
        list(pool.map(lambda pair: fill(*pair), pairs))


@compiled
def _signed_distance(mask, weights, half, unit, limit, largest, result):
    depth, height, width = mask.shape
    inside = 0
    for z in range(depth):
        for y in range(height):
            for x in range(width):
                inside += mask[z, y, x]
    if inside == 0 or inside == mask.size:
        result[:] = largest if inside else -largest
        return
    longest = max(depth, width)
    square = np.empty(mask.shape, np.float64)
    line, lowest = np.empty(longest), np.empty(longest)
    place, start = np.empty(longest, np.int64), np.empty(longest)
    for side in (True, False):
        _scan(mask, side, weights[1], square)
        if depth > 1:
            for y in range(height):
                for x in range(width):
                    for z in range(depth):
                        line[z] = square[z, y, x]
                    _envelope(line, depth, weights[0], place, start, lowest)
                    for z in range(depth):
                        square[z, y, x] = lowest[z]
        for z in range(depth):
            for y in range(height):
                needed = False
                for x in range(width):
                    needed |= mask[z, y, x] == side
                if not needed:
                    continue
                _envelope(square[z, y], width, weights[2], place, start, lowest)
                for x in range(width):
                    if mask[z, y, x] == side:
                        distance = min((math.sqrt(lowest[x]) - half) / unit, limit)
                        result[z, y, x] = distance if side else -distance


@compiled
def _scan(mask, side, weight, square):
    """Squared distances along y to the nearest pixel that is not of the side; else infinity."""
    depth, height, width = mask.shape
    for z in range(depth):
        for x in range(width):
            square[z, 0, x] = np.inf if mask[z, 0, x] == side else 0.0
        for y in range(1, height):
            for x in range(width):
                square[z, y, x] = square[z, y - 1, x] + 1.0 if mask[z, y, x] == side else 0.0
        for y in range(height - 2, -1, -1):
            for x in range(width):
                square[z, y, x] = min(square[z, y, x], square[z, y + 1, x] + 1.0)
        for y in range(height):
            for x in range(width):
                square[z, y, x] *= square[z, y, x] * weight


@compiled
def _envelope(line, length, weight, place, start, lowest):
    """The smallest line[p] + weight (q - p)^2 over p, for each q, into ``lowest``.

    ``place`` holds the parabolas of the lower envelope, ``start`` where each begins to be lowest.
    """
    last = -1
    for q in range(length):
        if line[q] == np.inf:
            continue
        begin = -np.inf
        while last >= 0:
            p = place[last]
            begin = ((line[q] - line[p]) / weight + (q * q - p * p)) / (2.0 * (q - p))
            if begin > start[last]:
                break
            last -= 1
            begin = -np.inf
        last += 1
        place[last] = q
        start[last] = begin
    if last < 0:
        lowest[:length] = np.inf
        return
    now = 0
    for q in range(length):
        while now < last and start[now + 1] < q:
            now += 1
        p = place[now]
        lowest[q] = line[p] + weight * ((q - p) * (q - p))
