"""Triton kernels for spanning trees and tree filters: few launches, and no wait of the host.

The number of rounds is that of the worst case, about log2(V) for V pixels; a round without work
ends at a number in the device's memory. Results do not depend on the order in which threads run:
atomic operations take minima and maxima, or add integers.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from mmlevelset.ops.kernels import on_device

PIXELS = 256  # of a program
CHANNELS = 8  # of a program that sweeps along a tree
HOPS = 8  # that a program follows along the tour in a launch
NO_EDGE = tl.constexpr(0x7FFFFFFFFFFFFFFF)
RUNTIME = [
    *("batch", "channels", "height", "width", "pixels", "count", "length", "rounds", "round"),
    *("level", "bits", "start", "divisor"),
]
"""Arguments for which a kernel is not specialised: one compilation serves all sizes."""


# Spanning trees. Every array has a row for each image; pixels and edges are numbered within it.


def spanning_tree(guide: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Parents (B, V), depth-first order (B, V) and heights (B,) of float32 maps (B, C, H, W).

    Boruvka's algorithm: each component takes its least edge. An edge's key is its weight's bits,
    followed by its number.
    """
    batch, _, height, width = guide.shape
    parent = torch.empty(batch, height * width, dtype=torch.int64, device=guide.device)
    order, heights = torch.empty_like(parent), parent.new_empty(batch)
    if batch:
        with on_device(guide):
            _find_tree(guide, parent, order, heights)
    return parent, order, heights


def _find_tree(guide: Tensor, parent: Tensor, order: Tensor, heights: Tensor) -> None:
    batch, channels, height, width = guide.shape
    pixels = height * width
    rounds = (pixels - 1).bit_length()

    def new(*shape: int, dtype: torch.dtype) -> Tensor:
        return torch.empty(batch, *shape, dtype=dtype, device=guide.device)

    keys, least = new(2, pixels, dtype=torch.int64), new(2, pixels, dtype=torch.int64)
    component, above = new(2, pixels, dtype=torch.int32), new(pixels, dtype=torch.int32)
    chosen, alive = new(2, pixels, dtype=torch.int8), new(max(rounds, 1), dtype=torch.int32)
    grid = (triton.cdiv(pixels, PIXELS), batch)
    sides = height, width, PIXELS
    _start[grid](
        *(guide.contiguous(), keys, least, component, above, chosen, alive, order, heights),
        *(channels, rounds, *sides),
        ROUNDS=triton.next_power_of_2(max(rounds, 1)),
        enable_fp_fusion=False,  # else weights are rounded differently from the CPU's
    )
    for turn in range(rounds):
        _take_least[grid](keys, least, component, above, alive, turn, rounds, *sides)
        _join[grid](least, component, above, chosen, alive, turn, rounds, *sides)

    steps = new(2, 4 * pixels, dtype=torch.int64)
    _begin_tour[grid](chosen, steps, *sides)
    wide = (triton.cdiv(4 * pixels, PIXELS), batch)
    leaps, reached = 0, 1
    while reached < 2 * pixels - 2:
        _leap[wide](steps, leaps % 2, 4 * pixels, HOPS, PIXELS)
        leaps, reached = leaps + 1, reached * HOPS
    length = 2 * pixels - 2
    rise, target = new(length, dtype=torch.int32), new(length, dtype=torch.int32)
    _root[grid](chosen, steps, leaps % 2, parent, rise, target, *sides)
    if length:
        depth = rise.cumsum(1, dtype=torch.int32)
        along = (triton.cdiv(length, PIXELS), batch)
        _number[along](depth, target, order, heights, length, PIXELS)


@triton.jit(do_not_specialize=RUNTIME)
def _start(
    guide,
    keys,
    least,
    component,
    above,
    chosen,
    alive,
    order,
    heights,
    channels,
    rounds,
    height,
    width,
    PIXELS: tl.constexpr,
    ROUNDS: tl.constexpr,
):
    """Keys of the edges to the right and down; each pixel is a component."""
    image = tl.program_id(1).to(tl.int64)
    pixels = height * width
    pixel = tl.program_id(0) * PIXELS + tl.arange(0, PIXELS)
    valid = pixel < pixels
    row, column = pixel // width, pixel % width
    right, down = valid & (column < width - 1), valid & (row < height - 1)
    across, along = tl.zeros([PIXELS], tl.float32), tl.zeros([PIXELS], tl.float32)
    for channel in range(channels):
        values = guide + (image * channels + channel) * pixels + pixel
        here = tl.load(values, mask=valid, other=0.0)
        step = tl.load(values + 1, mask=right, other=0.0) - here
        across += step * step
        step = tl.load(values + width, mask=down, other=0.0) - here
        along += step * step
    first = keys + image * 2 * pixels + pixel
    number = (row * (width - 1) + column).to(tl.int64)
    tl.store(first, tl.where(right, _key(across, number), NO_EDGE), mask=valid)
    number = height.to(tl.int64) * (width - 1) + pixel
    tl.store(first + pixels, tl.where(down, _key(along, number), NO_EDGE), mask=valid)
    tl.store(least + image * 2 * pixels + pixel, NO_EDGE, mask=valid)
    tl.store(component + image * 2 * pixels + pixel, pixel, mask=valid)
    tl.store(above + image * pixels + pixel, pixel, mask=valid)
    tl.store(chosen + image * 2 * pixels + pixel, 0, mask=valid)
    tl.store(chosen + image * 2 * pixels + pixels + pixel, 0, mask=valid)
    if tl.program_id(0) == 0:
        turn = tl.arange(0, ROUNDS)
        tl.store(alive + image * rounds + turn, 0, mask=turn < rounds)
        tl.store(order + image * pixels, 0)
        tl.store(heights + image, 0)


@triton.jit
def _key(weight, number):
    """Bits of numbers that are not negative are ordered as the numbers are; NaN is infinite."""
    weight = tl.where(weight < float("inf"), weight, float("inf"))
    return (weight.to(tl.int32, bitcast=True).to(tl.int64) << 32) | number


@triton.jit
def _top(above, node):
    """The root of each node's component."""
    following = tl.load(above + node)
    while tl.max((following != node).to(tl.int32), 0) > 0:
        node = following
        following = tl.load(above + node)
    return node


@triton.jit
def _neighbour(pixel, valid, height, width, DIRECTION: tl.constexpr):
    """The pixel to the right, below, to the left or above; the pixel itself at the border."""
    if DIRECTION == 0:
        exists, move = pixel % width < width - 1, 1
    elif DIRECTION == 1:
        exists, move = pixel // width < height - 1, width
    elif DIRECTION == 2:
        exists, move = pixel % width > 0, -1
    else:
        exists, move = pixel // width > 0, -width
    exists &= valid
    return tl.where(exists, pixel + move, pixel), exists


@triton.jit(do_not_specialize=RUNTIME)
def _take_least(
    keys, least, component, above, alive, round, rounds, height, width, PIXELS: tl.constexpr
):
    """Find each pixel's component, and the least key of the edges that leave a component."""
    image = tl.program_id(1).to(tl.int64)
    pixels = height * width
    alive += image * rounds + round
    if round == 0:
        work = 1
    else:
        work = tl.load(alive - 1)
    if work != 0:
        pixel = tl.program_id(0) * PIXELS + tl.arange(0, PIXELS)
        valid = pixel < pixels
        pixel = tl.where(valid, pixel, 0)
        above += image * pixels
        now = component + (image * 2 + round % 2) * pixels
        here = _top(above, tl.load(now + pixel))
        tl.store(component + (image * 2 + (round + 1) % 2) * pixels + pixel, here, mask=valid)
        best = tl.full([PIXELS], NO_EDGE, tl.int64)
        for direction in tl.static_range(4):
            other, exists = _neighbour(pixel, valid, height, width, direction)
            there = _top(above, tl.load(now + other))
            start = tl.minimum(pixel, other)
            key = tl.load(keys + (image * 2 + direction % 2) * pixels + start)
            best = tl.where(exists & (here != there), tl.minimum(best, key), best)
        leaves = best < NO_EDGE
        row = least + (image * 2 + round % 2) * pixels
        tl.atomic_min(row + here, best, mask=leaves, sem="relaxed")
        any_leaves = tl.max(leaves.to(tl.int32), 0)
        tl.store(alive, 1, mask=any_leaves > 0)


@triton.jit(do_not_specialize=RUNTIME)
def _join(
    least, component, above, chosen, alive, round, rounds, height, width, PIXELS: tl.constexpr
):
    """Hang each component below the other end of its least edge."""
    image = tl.program_id(1).to(tl.int64)
    pixels = height * width
    if tl.load(alive + image * rounds + round) != 0:
        pixel = tl.program_id(0) * PIXELS + tl.arange(0, PIXELS)
        valid = pixel < pixels
        pixel = tl.where(valid, pixel, 0)
        row = least + (image * 2 + round % 2) * pixels
        key = tl.load(row + pixel)
        is_root = tl.load(above + image * pixels + pixel) == pixel
        leaves = valid & is_root & (key < NO_EDGE)
        horizontal = height * (width - 1)
        edge = tl.where(leaves, key & 0xFFFFFFFF, 0).to(tl.int32)
        vertical = edge >= horizontal
        start = tl.where(vertical, edge - horizontal, edge + edge // tl.maximum(width - 1, 1))
        end = start + tl.where(vertical, width, 1)
        new = component + (image * 2 + (round + 1) % 2) * pixels
        first = tl.load(new + start, mask=leaves, other=0)
        second = tl.load(new + end, mask=leaves, other=0)
        other = tl.where(first == pixel, second, first)
        # Of two components that took the same edge, one becomes the root.
        mutual = tl.load(row + other, mask=leaves, other=0) == key
        stays = mutual & (pixel < other)
        tl.store(above + image * pixels + pixel, other, mask=leaves & (stays == 0))
        tl.store(chosen + (image * 2 + vertical) * pixels + start, 1, mask=leaves)
        free = least + (image * 2 + (round + 1) % 2) * pixels
        tl.store(free + pixel, NO_EDGE, mask=valid)


# A tour along both sides of all edges leaves a pixel in the next open direction. Step 4 p + d leads
# from pixel p in direction d: right, down, left, up. A step's entry has the number of steps that
# follow it within reach in its upper half, and the step behind them in its lower half.


@triton.jit
def _is_open(chosen, pixel, valid, height, width, DIRECTION: tl.constexpr):
    other, exists = _neighbour(pixel, valid, height, width, DIRECTION)
    edge = chosen + (DIRECTION % 2) * height * width + tl.minimum(pixel, other)
    return other, exists & (tl.load(edge, mask=exists, other=0) != 0)


@triton.jit
def _onward(chosen, pixel, valid, height, width, BACK: tl.constexpr):
    """The step that leaves a pixel after a way back in direction ``BACK``."""
    leaving = tl.zeros_like(pixel)
    for turned in tl.static_range(4):
        towards = (BACK + 4 - turned) % 4
        _, is_open = _is_open(chosen, pixel, valid, height, width, towards)
        leaving = tl.where(is_open, towards, leaving)
    return pixel * 4 + leaving


@triton.jit(do_not_specialize=RUNTIME)
def _begin_tour(chosen, steps, height, width, PIXELS: tl.constexpr):
    image = tl.program_id(1).to(tl.int64)
    pixels = height * width
    chosen += image * 2 * pixels
    pixel = tl.program_id(0) * PIXELS + tl.arange(0, PIXELS)
    valid = pixel < pixels
    root = tl.zeros_like(pixel)
    start = _onward(chosen, root, root == 0, height, width, 3)
    for direction in tl.static_range(4):
        target, is_open = _is_open(chosen, pixel, valid, height, width, direction)
        step = pixel * 4 + direction
        following = _onward(chosen, target, is_open, height, width, direction ^ 2)
        # The last step of the tour, and entries that are no step, are followed by themselves.
        moves = is_open & (following != start)
        entry = tl.where(moves, (1 << 32) | following.to(tl.int64), step.to(tl.int64))
        tl.store(steps + image * 8 * pixels + step, entry, mask=valid)


@triton.jit(do_not_specialize=RUNTIME)
def _leap(steps, round, count, HOPS: tl.constexpr, PIXELS: tl.constexpr):
    """Extend the reach of each step ``HOPS`` times."""
    image = tl.program_id(1).to(tl.int64)
    step = tl.program_id(0) * PIXELS + tl.arange(0, PIXELS)
    valid = step < count
    source = steps + (image * 2 + round) * count
    entry = tl.load(source + step, mask=valid, other=0)
    passed, behind = entry >> 32, entry & 0xFFFFFFFF
    for _ in tl.static_range(HOPS - 1):
        entry = tl.load(source + behind, mask=valid, other=0)
        passed, behind = passed + (entry >> 32), entry & 0xFFFFFFFF
    tl.store(steps + (image * 2 + 1 - round) * count + step, (passed << 32) | behind, mask=valid)


@triton.jit(do_not_specialize=RUNTIME)
def _root(chosen, steps, round, parent, rise, target, height, width, PIXELS: tl.constexpr):
    """The first of an edge's two steps leads away from the root: parents, and the tour in order."""
    image = tl.program_id(1).to(tl.int64)
    pixels = height * width
    length = 2 * pixels - 2
    pixel = tl.program_id(0) * PIXELS + tl.arange(0, PIXELS)
    valid = pixel < pixels
    chosen += image * 2 * pixels
    steps += (image * 2 + round) * 4 * pixels
    above = tl.zeros_like(pixel)
    for direction in tl.static_range(4):
        other, is_open = _is_open(chosen, pixel, valid, height, width, direction)
        left = tl.load(steps + pixel * 4 + direction, mask=is_open, other=0) >> 32
        back = tl.load(steps + other * 4 + (direction ^ 2), mask=is_open, other=0) >> 32
        outward = left > back
        above = tl.where(is_open & (outward == 0), other, above)
        place = image * length + length - 1 - left
        tl.store(rise + place, tl.where(outward, 1, -1), mask=is_open)
        tl.store(target + place, tl.where(outward, other, -1), mask=is_open)
    tl.store(parent + image * pixels + pixel, above.to(tl.int64), mask=valid)


@triton.jit(do_not_specialize=RUNTIME)
def _number(depth, target, order, heights, length, PIXELS: tl.constexpr):
    """Of k + 1 steps that lead to a depth of d, (k + 1 + d) / 2 have reached a new pixel."""
    image = tl.program_id(1).to(tl.int64)
    place = tl.program_id(0) * PIXELS + tl.arange(0, PIXELS)
    valid = place < length
    deep = tl.load(depth + image * length + place, mask=valid, other=0)
    pixel = tl.load(target + image * length + place, mask=valid, other=-1)
    found = (place + 1 + deep) // 2
    start = order + image * (length // 2 + 1)
    tl.store(start + found, pixel.to(tl.int64), mask=valid & (pixel >= 0))
    tl.atomic_max(heights + image, tl.max(deep, 0).to(tl.int64), sem="relaxed")


# Filters. With N, which gives each pixel its parent's value times the weight, the filter is
# S = (1 - N)^-1 (1 - w^2) (1 - N)^-T, and (1 - N)^-1 = (1 + N) (1 + N^2) (1 + N^4) ... Level r has
# the ancestors 2^r edges away and the weights to them. Three arrays of 64-bit numbers take turns.


class _Sweeps:
    """Sums over descendants and over all pixels, of maps (B, N, V).

    ``work`` (3, B, N, V) holds the sums over descendants as integers, in a unit for each map, and
    the sums over all pixels as the bits of float64 numbers. Their places in it depend on the tree's
    height.
    """

    def __init__(self, values: Tensor, weight: Tensor, parent: Tensor, height: Tensor) -> None:
        batch, channels, pixels = values.shape
        rounds = (pixels - 1).bit_length()
        self.values = values.contiguous()
        self.largest = torch.linalg.vector_norm(self.values, torch.inf, dim=2)
        self.height = height.contiguous()
        self.work = values.new_empty(3, *values.shape, dtype=torch.int64)
        levels = max(rounds, 1), batch, pixels
        self.weights = values.new_empty(levels, dtype=torch.float64)
        self.ancestors = values.new_empty(levels, dtype=torch.int32)
        self.sizes = batch, channels, pixels
        self.bits = pixels.bit_length() - 61
        arrays = self.work, self.weights, self.ancestors, self.height
        self.grid = (triton.cdiv(pixels, PIXELS), triton.cdiv(channels, CHANNELS), batch)
        blocks = *self.sizes, CHANNELS, PIXELS
        _fix[self.grid](
            self.values, self.largest, weight.contiguous(), parent.contiguous(), *arrays[:3],
            self.bits, *blocks,
        )  # fmt: skip
        for level in range(rounds):
            _gather_up[self.grid](*arrays, level, rounds, *blocks)
        _turn[self.grid](*arrays[:2], self.height, self.largest, self.bits, *blocks)
        for level in range(rounds):
            _spread_down[self.grid](*arrays, level, *blocks)

    def results(self, out: Tensor, first: int, divisor: int) -> None:
        """Write sums over all pixels, from map ``first`` on, into ``out`` (B, K, V).

        ``divisor`` is the map of which they are divided by, or -1.
        """
        if out.numel():
            batch, channels, pixels = self.sizes
            grid = (self.grid[0], triton.cdiv(out.shape[1], CHANNELS), batch)
            _results[grid](
                *(self.work, self.height, out, out.shape[1], first, divisor),
                *(batch, channels, pixels, CHANNELS, PIXELS),
            )


def forward(
    x: Tensor, weight: Tensor, parent: Tensor, order: Tensor, height: Tensor
) -> tuple[Tensor, Tensor]:
    """S x / S 1 (B, K, V), and S 1 (B, V) in float64."""
    batch, count, pixels = x.shape
    result, norm = x.new_empty(x.shape), weight.new_empty(weight.shape, dtype=torch.float64)
    if batch:
        values = x.new_ones(batch, count + 1, pixels)
        values[:, :count] = x
        with on_device(x):
            sweeps = _Sweeps(values, weight, parent, height)
            sweeps.results(result, 0, count)
            sweeps.results(norm[:, None], count, -1)
    return result, norm


def backward(
    grad: Tensor,
    x: Tensor,
    weight: Tensor,
    parent: Tensor,
    order: Tensor,
    height: Tensor,
    result: Tensor,
    norm: Tensor,
    needs_weight: bool,
) -> tuple[Tensor, Tensor]:
    """Gradients of x and of the weights; the second has no elements if it is not needed."""
    batch, count, pixels = x.shape
    grad_x = x.new_empty(x.shape)
    grad_weight = weight.new_empty(weight.shape if needs_weight else (0, 0))
    channels = 2 * count + 2 if needs_weight else count
    if not batch or not channels:
        return grad_x, grad_weight
    values = norm.new_ones(batch, channels, pixels)
    slope = torch.div(grad, norm[:, None], out=values[:, :count])
    if needs_weight:  # slopes, maps, the slope of the norm, ones
        values[:, count : 2 * count] = x
        values[:, 2 * count] = -(slope * result).sum(1)
    with on_device(x):
        sweeps = _Sweeps(values, weight, parent, height)
        sweeps.results(grad_x, 0, -1)
        if needs_weight:
            _weight_slopes[(sweeps.grid[0], batch)](
                *(sweeps.work, sweeps.weights, sweeps.ancestors, sweeps.height, sweeps.largest),
                *(grad_weight, sweeps.bits, *sweeps.sizes, PIXELS),
            )
    return grad_x, grad_weight


@triton.jit
def _unit(largest, bits):
    """The resolution of a map's integers: a power of two, or NaN if a value is not finite."""
    size = tl.maximum(largest.to(tl.float64), 1e-200)
    exponent = (size.to(tl.int64, bitcast=True) >> 52) + 1 + bits  # biased by 1023
    unit = (exponent << 52).to(tl.float64, bitcast=True)
    return tl.where(largest < float("inf"), unit, float("nan"))


@triton.jit
def _rounded(value):
    return tl.floor(value + 0.5).to(tl.int64)


@triton.jit
def _levels(height):
    """The number of levels of a tree."""
    levels = 0
    while height > 0:
        levels += 1
        height = height >> 1
    return levels


@triton.jit(do_not_specialize=RUNTIME)
def _fix(
    values,
    largest,
    weight,
    parent,
    work,
    weights,
    ancestors,
    bits,
    batch,
    channels,
    pixels,
    CHANNELS: tl.constexpr,
    PIXELS: tl.constexpr,
):
    """Maps as integers, zeros for their sums, and level 0."""
    image = tl.program_id(2).to(tl.int64)
    pixel = tl.program_id(0) * PIXELS + tl.arange(0, PIXELS)
    valid = pixel < pixels
    size = batch.to(tl.int64) * channels * pixels
    first = tl.program_id(1) * CHANNELS
    for channel in range(first, tl.minimum(first + CHANNELS, channels)):
        row = image * channels + channel
        unit = _unit(tl.load(largest + row), bits)
        value = tl.load(values + row * pixels + pixel, mask=valid, other=0.0).to(tl.float64)
        finite = unit == unit
        fixed = tl.where(finite, value / tl.where(finite, unit, 1.0), 0.0)
        tl.store(work + row * pixels + pixel, _rounded(fixed), mask=valid)
        tl.store(work + size + row * pixels + pixel, 0, mask=valid)
    if first == 0:
        place = image * pixels + pixel
        own = tl.load(weight + place, mask=valid, other=0.0).to(tl.float64)
        tl.store(weights + place, tl.where(pixel == 0, 0.0, own), mask=valid)
        tl.store(ancestors + place, tl.load(parent + place, mask=valid).to(tl.int32), mask=valid)


@triton.jit(do_not_specialize=RUNTIME)
def _gather_up(
    work,
    weights,
    ancestors,
    height,
    level,
    rounds,
    batch,
    channels,
    pixels,
    CHANNELS: tl.constexpr,
    PIXELS: tl.constexpr,
):
    """Add each pixel's sums to its ancestor's; make the next level."""
    image = tl.program_id(2).to(tl.int64)
    if (tl.load(height + image) >> level) > 0:
        pixel = tl.program_id(0) * PIXELS + tl.arange(0, PIXELS)
        valid = pixel < pixels
        size = batch.to(tl.int64) * channels * pixels
        source, target = work + level % 3 * size, work + (level + 1) % 3 * size
        free = work + (level + 2) % 3 * size
        place = (level.to(tl.int64) * batch + image) * pixels
        weight = tl.load(weights + place + pixel, mask=valid, other=0.0)
        ancestor = tl.load(ancestors + place + pixel, mask=valid, other=0)
        first = tl.program_id(1) * CHANNELS
        for channel in range(first, tl.minimum(first + CHANNELS, channels)):
            row = (image * channels + channel) * pixels
            own = tl.load(source + row + pixel, mask=valid, other=0)
            share = _rounded(own.to(tl.float64) * weight)
            tl.atomic_add(target + row + pixel, own, mask=valid, sem="relaxed")
            passes = valid & (share != 0)
            tl.atomic_add(target + row + ancestor, share, mask=passes, sem="relaxed")
            tl.store(free + row + pixel, 0, mask=valid)
        if (first == 0) & (level + 1 < rounds):
            onward = place + batch.to(tl.int64) * pixels
            far = tl.load(weights + place + ancestor, mask=valid, other=0.0)
            tl.store(weights + onward + pixel, weight * far, mask=valid)
            far = tl.load(ancestors + place + ancestor, mask=valid, other=0)
            tl.store(ancestors + onward + pixel, far, mask=valid)


@triton.jit(do_not_specialize=RUNTIME)
def _turn(
    work,
    weights,
    height,
    largest,
    bits,
    batch,
    channels,
    pixels,
    CHANNELS: tl.constexpr,
    PIXELS: tl.constexpr,
):
    """(1 - w^2) times the sums over descendants, in float64."""
    image = tl.program_id(2).to(tl.int64)
    pixel = tl.program_id(0) * PIXELS + tl.arange(0, PIXELS)
    valid = pixel < pixels
    size = batch.to(tl.int64) * channels * pixels
    last = _levels(tl.load(height + image))
    source, target = work + last % 3 * size, work + (last + 1) % 3 * size
    weight = tl.load(weights + image * pixels + pixel, mask=valid, other=0.0)
    first = tl.program_id(1) * CHANNELS
    for channel in range(first, tl.minimum(first + CHANNELS, channels)):
        row = image * channels + channel
        own = tl.load(source + row * pixels + pixel, mask=valid, other=0).to(tl.float64)
        own *= _unit(tl.load(largest + row), bits) * (1 - weight * weight)
        tl.store(target + row * pixels + pixel, own.to(tl.int64, bitcast=True), mask=valid)


@triton.jit(do_not_specialize=RUNTIME)
def _spread_down(
    work,
    weights,
    ancestors,
    height,
    level,
    batch,
    channels,
    pixels,
    CHANNELS: tl.constexpr,
    PIXELS: tl.constexpr,
):
    """Add the ancestor's sums to each pixel's."""
    image = tl.program_id(2).to(tl.int64)
    tall = tl.load(height + image)
    if (tall >> level) > 0:
        pixel = tl.program_id(0) * PIXELS + tl.arange(0, PIXELS)
        valid = pixel < pixels
        size = batch.to(tl.int64) * channels * pixels
        last = _levels(tall)
        source = work + (last + 1 + level % 2) % 3 * size
        target = work + (last + 2 - level % 2) % 3 * size
        place = (level.to(tl.int64) * batch + image) * pixels
        weight = tl.load(weights + place + pixel, mask=valid, other=0.0)
        ancestor = tl.load(ancestors + place + pixel, mask=valid, other=0)
        first = tl.program_id(1) * CHANNELS
        for channel in range(first, tl.minimum(first + CHANNELS, channels)):
            row = (image * channels + channel) * pixels
            own = _floats(source + row + pixel, valid)
            own += weight * _floats(source + row + ancestor, valid)
            tl.store(target + row + pixel, own.to(tl.int64, bitcast=True), mask=valid)


@triton.jit
def _floats(place, valid):
    return tl.load(place, mask=valid, other=0).to(tl.float64, bitcast=True)


@triton.jit(do_not_specialize=RUNTIME)
def _results(
    work,
    height,
    out,
    count,
    start,
    divisor,
    batch,
    channels,
    pixels,
    CHANNELS: tl.constexpr,
    PIXELS: tl.constexpr,
):
    image = tl.program_id(2).to(tl.int64)
    pixel = tl.program_id(0) * PIXELS + tl.arange(0, PIXELS)
    valid = pixel < pixels
    pixels = pixels.to(tl.int64)
    size = batch * channels * pixels
    last = _levels(tl.load(height + image))
    sums = work + (last + 1 + last % 2) % 3 * size + image * channels * pixels + pixel
    norm = tl.full([PIXELS], 1.0, tl.float64)
    if divisor >= 0:
        norm = tl.where(valid, _floats(sums + divisor * pixels, valid), 1.0)
    first = tl.program_id(1) * CHANNELS
    for channel in range(first, tl.minimum(first + CHANNELS, count)):
        value = _floats(sums + (start + channel) * pixels, valid) / norm
        place = out + (image * count + channel) * pixels + pixel
        tl.store(place, value.to(out.dtype.element_ty), mask=valid)


@triton.jit(do_not_specialize=RUNTIME)
def _weight_slopes(
    work,
    weights,
    ancestors,
    height,
    largest,
    grad_weight,
    bits,
    batch,
    channels,
    pixels,
    PIXELS: tl.constexpr,
):
    """a_g (y_parent - w a) + a (y_g_parent - w a_g), summed over maps and for the norm."""
    image = tl.program_id(1).to(tl.int64)
    pixel = tl.program_id(0) * PIXELS + tl.arange(0, PIXELS)
    valid = pixel < pixels
    pixels = pixels.to(tl.int64)
    size = batch * channels * pixels
    last = _levels(tl.load(height + image))
    fixed = work + last % 3 * size + image * channels * pixels
    whole = work + (last + 1 + last % 2) % 3 * size + image * channels * pixels
    weight = tl.load(weights + image * pixels + pixel, mask=valid, other=0.0)
    parent = tl.load(ancestors + image * pixels + pixel, mask=valid, other=0)
    half = channels // 2 - 1
    total = tl.zeros([PIXELS], tl.float64)
    for pair in range(half + 1):
        slope = tl.where(pair < half, pair, channels - 2)
        value = tl.where(pair < half, half + pair, channels - 1)
        by_slope = tl.load(fixed + slope * pixels + pixel, mask=valid, other=0).to(tl.float64)
        by_slope *= _unit(tl.load(largest + image * channels + slope), bits)
        by_value = tl.load(fixed + value * pixels + pixel, mask=valid, other=0).to(tl.float64)
        by_value *= _unit(tl.load(largest + image * channels + value), bits)
        above = _floats(whole + value * pixels + parent, valid)
        total += by_slope * (above - weight * by_value)
        above = _floats(whole + slope * pixels + parent, valid)
        total += by_value * (above - weight * by_slope)
    total = tl.where(pixel == 0, 0.0, total)
    place = grad_weight + image * pixels + pixel
    tl.store(place, total.to(grad_weight.dtype.element_ty), mask=valid)
