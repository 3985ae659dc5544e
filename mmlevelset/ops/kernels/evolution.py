"""The unrolled evolution on CUDA: N+1 passes over the features, backward also one write of them.

A step needs the region means, which are sums over all pixels, so each pass is a launch of its own.
A pass moves phi, then sums the features under the moved phi for the next step. Between two passes
a small launch, which moves few bytes, adds up the tiles' sums and filters phi.
Sums are added in a fixed order without atomics, so that two runs give the same bits.

The features are centred, which keeps |F - c|^2 from cancelling and changes neither the result nor a
gradient. The centre is the median of three pixels, since a single pixel may be an outlier. Shapes
are as in ``mmlevelset.ops.evolution``; P is the number of pixels of a map, T its number of tiles.
``products`` has the products of features with vectors, and says what a group of channels is.

The backward pass reverses the step phi_s -> phi_{s+1}. G is the gradient of phi_{s+1}, and
u = G dt delta(phi_s) is the gradient of the force. The sums U1 = sum u F and U0 = sum u give the
gradients b1 = 2 lambda1 (U1 - c1 U0) and b2 = -2 lambda2 (U1 - c2 U0) of the means c1 and c2.
"""

from collections.abc import Sequence
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from mmlevelset.ops.kernels import on_device
from mmlevelset.ops.kernels.products import (
    add_outer,
    load_centres,
    load_factors,
    no_sums,
    pixel_factors,
    project,
    read,
    read_more,
    squared_norm,
    store_factors,
    store_outer,
    store_sums,
    weigh,
    whole,
    zeros,
)
from mmlevelset.ops.kernels.stencil import (
    divergence,
    gradient,
    heaviside,
    pull_normal,
    pull_phi,
)
from mmlevelset.ops.region import MINIMUM_AREA

MAP_PIXELS = 256  # pixels of a program that filters maps
MAP_CHANNELS = 32  # channels of the same program, which also adds up their tiles' sums
RUNTIME = ["level", "steps"]  # arguments for which a kernel is not specialised
SUMMED_TILES = tl.constexpr(64)  # tiles added at a time
AREA = tl.constexpr(MINIMUM_AREA)
PI = tl.constexpr(3.14159265358979)

# Rows of the tiles' sums of scalars (M, N, 5, T).
SUM_CHANGE = tl.constexpr(0)  # sum u
SUM_SQUARES = tl.constexpr(1)  # sum u |F|^2
GRAD_MU = tl.constexpr(2)
GRAD_EPS = tl.constexpr(3)
GRAD_DT = tl.constexpr(4)


@triton.jit
def _centres(features, centres, channels, pixels, CHANNELS: tl.constexpr):
    """Median of three pixels of each channel of one region."""
    region = tl.program_id(0).to(tl.int64)
    for start in range(0, channels, CHANNELS):
        channel = start + tl.arange(0, CHANNELS)
        valid = channel < channels
        row = features + region * channels * pixels + channel.to(tl.int64) * pixels
        one = tl.load(row + pixels // 4, mask=valid, other=0.0).to(tl.float32)
        two = tl.load(row + pixels // 2, mask=valid, other=0.0).to(tl.float32)
        three = tl.load(row + pixels - 1 - pixels // 4, mask=valid, other=0.0).to(tl.float32)
        low, high = tl.minimum(one, two), tl.maximum(one, two)
        median = tl.maximum(low, tl.minimum(high, three))
        tl.store(centres + region * channels + channel, median, mask=valid)


@triton.jit
def _speed(radius, eps, PRINTED: tl.constexpr):
    """delta in the evolution: the slope of the Heaviside function, times eps if PRINTED."""
    slope = eps / (PI * radius)
    return slope * eps if PRINTED else slope


@triton.jit
def _sum_tiles(pointer, tiles, stride, offset, valid):
    """Sum over tiles of the entries ``offset`` of a table (T, stride), in a fixed order."""
    total = tl.zeros(offset.shape, tl.float32)
    for start in range(0, tiles, SUMMED_TILES):
        tile = start + tl.arange(0, SUMMED_TILES)
        mask = (tile < tiles)[:, None] & valid[None, :]
        entries = pointer + tile.to(tl.int64)[:, None] * stride + offset[None, :]
        total += tl.sum(tl.load(entries, mask=mask, other=0.0), 0)
    return total


@triton.jit
def _sum_scalars(pointer, tiles):
    """Sum of one scalar over the tiles, in a fixed order."""
    one = tl.arange(0, 1)
    return tl.sum(_sum_tiles(pointer, tiles, 1, one, one < 1), 0)


@triton.jit(do_not_specialize=RUNTIME)
def _forward_pass(
    features, centres, trajectory, squares, normals, factors, constants, sums, areas,
    lambda1, lambda2, mu, eps, dt, level, steps, tiles, channels, pixels, height, width,
    MOVE: tl.constexpr, SUM: tl.constexpr, PRINTED: tl.constexpr,
    PIXELS: tl.constexpr, PARTS: tl.constexpr, PIECES: tl.constexpr, TERMS: tl.constexpr,
    ROWS: tl.constexpr, FULL: tl.constexpr, WIDE: tl.constexpr, BLOCKS: tl.constexpr,
    TABLE: tl.constexpr,
):  # fmt: skip
    """Make phi_level from phi_{level-1} (MOVE); sum the tile's features under phi_level (SUM)."""
    tile = tl.program_id(0) % tiles
    region = (tl.program_id(0) // tiles).to(tl.int64)
    phi_row = trajectory + (region * (steps + 1) + level) * pixels
    features += region * channels * pixels
    centres += region * channels
    squares += region * pixels
    pair = sums + (region * tiles + tile) * 2 * channels
    start = tile * PARTS * PIXELS
    stride = pixels.to(tl.int64) if WIDE else pixels
    if MOVE:
        normals += region * 2 * (height + 2) * (width + 2)
        factor_row = factors + region * TABLE
        matrices = load_factors(factor_row, 0, PIECES, TERMS)
        constant = _sum_blocks(constants + region * BLOCKS, BLOCKS)
        step = region * steps + level - 1
        difference = tl.load(lambda2 + region) - tl.load(lambda1 + region)
        weight = tl.load(mu + region)
        sharpness = tl.load(eps + step)
        pace = tl.load(dt + step)
    if SUM:
        total = no_sums(PIECES, TERMS)
        area1 = tl.zeros((PIXELS,), tl.float32)
        area2 = tl.zeros((PIXELS,), tl.float32)
        next_sharpness = tl.load(eps + region * steps + level)
    centre = load_centres(centres, 0, channels, PIECES, TERMS)
    if MOVE:
        row, column = _place(start, width, PIXELS)
    for part in range(_parts(start, pixels, PARTS, PIXELS)):
        pixel = start + part * PIXELS + tl.arange(0, PIXELS)
        inside = tl.full((PIXELS,), True, tl.int1) if FULL else pixel < pixels
        group = read(features, centre, 0, pixel, inside, channels, stride, PIECES, TERMS, FULL)
        if MOVE:
            data, _ = project(group, matrices, TERMS)
            if ROWS:
                for first in range(ROWS, channels, ROWS):
                    more = read_more(
                        features, centres, first, pixel, inside, channels, stride,
                        PIECES, TERMS, FULL,
                    )  # fmt: skip
                    others = load_factors(factor_row, first, PIECES, TERMS)
                    data += project(more, others, TERMS)[0]
            square = tl.load(squares + pixel, mask=inside, other=0.0)
            data += difference * square + constant
            bend = divergence(normals, tl.minimum(row, height - 1), column, height, width)
            force = weight * bend + data
            phi = tl.load(phi_row - pixels + pixel, mask=inside, other=0.0)
            radius = phi * phi + sharpness * sharpness
            phi += pace * _speed(radius, sharpness, PRINTED) * force
            tl.store(phi_row + pixel, phi, mask=inside)
            if PARTS > 1:
                row, column = _next_place(row, column, width, PIXELS)
        else:
            phi = tl.load(phi_row + pixel, mask=inside, other=0.0)
            square = squared_norm(group)
        if SUM:
            within, without = heaviside(phi, next_sharpness)
            within = tl.where(inside, within, 0.0)
            without = tl.where(inside, without, 0.0)
            area1 += within
            area2 += without
            total = weigh(group, within, without, total, TERMS)
            if ROWS:
                for first in range(ROWS, channels, ROWS):
                    more = read_more(
                        features, centres, first, pixel, inside, channels, stride,
                        PIECES, TERMS, FULL,
                    )  # fmt: skip
                    if not MOVE:
                        square += squared_norm(more)
                    others = weigh(more, within, without, no_sums(PIECES, TERMS), TERMS)
                    store_sums(others, pair, pair + channels, first, channels, PIECES)
        if not MOVE:
            tl.store(squares + pixel, square, mask=inside)
    if SUM:
        store_sums(total, pair, pair + channels, 0, channels, PIECES)
        row = areas + (region * tiles + tile) * 2
        tl.store(row, tl.sum(area1, 0))
        tl.store(row + 1, tl.sum(area2, 0))


@triton.jit
def _parts(start, pixels, PARTS: tl.constexpr, PIXELS: tl.constexpr):
    """Number of parts of a tile: the last tile may have fewer."""
    if PARTS == 1:
        return 1
    else:
        return tl.minimum(PARTS, tl.cdiv(pixels - start, PIXELS))


@triton.jit
def _place(start, width, PIXELS: tl.constexpr):
    """Row and column of the pixels of a tile's first part."""
    pixel = start + tl.arange(0, PIXELS)
    row = pixel // width
    return row, pixel - row * width


@triton.jit
def _next_place(row, column, width, PIXELS: tl.constexpr):
    """Row and column of the next part's pixels, without a division at each pixel."""
    row += PIXELS // width
    column += PIXELS % width
    over = column >= width
    return tl.where(over, row + 1, row), tl.where(over, column - width, column)


@triton.jit
def _sum_blocks(pointer, BLOCKS: tl.constexpr):
    return tl.sum(tl.load(pointer + tl.arange(0, BLOCKS)), 0)


@triton.jit(do_not_specialize=RUNTIME)
def _forward_maps(
    trajectory, normals, sums, tile_areas, means, areas, factors, constants, lambda1, lambda2,
    level, steps, blocks, tiles, channels, height, width, eta,
    MAP_PIXELS: tl.constexpr, MAP_CHANNELS: tl.constexpr, BLOCKS: tl.constexpr,
    TABLE: tl.constexpr, TERMS: tl.constexpr,
):  # fmt: skip
    """Make the normals of phi_level; the first programs also finish its means, block by block."""
    block = tl.program_id(0) % blocks
    region = (tl.program_id(0) // blocks).to(tl.int64)
    pitch = width + 2
    frame = (height + 2) * pitch
    pixel = block * MAP_PIXELS + tl.arange(0, MAP_PIXELS)
    phi = trajectory + (region * (steps + 1) + level) * height * width
    x, y, scale = gradient(phi, pixel // pitch - 1, pixel % pitch - 1, height, width, eta)
    out = normals + region * 2 * frame + pixel
    tl.store(out, x * scale, mask=pixel < frame)
    tl.store(out + frame, y * scale, mask=pixel < frame)

    if block < BLOCKS:
        _finish_means(
            sums, tile_areas, means, areas, factors, constants, lambda1, lambda2,
            region, region * steps + level, block, channels, tiles, MAP_CHANNELS, BLOCKS,
            TABLE, TERMS,
        )  # fmt: skip


@triton.jit
def _finish_means(
    sums, tile_areas, means, areas, factors, constants, lambda1, lambda2,
    region, step, block, channels, tiles, MAP_CHANNELS: tl.constexpr, BLOCKS: tl.constexpr,
    TABLE: tl.constexpr, TERMS: tl.constexpr,
):  # fmt: skip
    """Store the areas, and the means and the force of one block of channels, from the tiles."""
    both = tl.arange(0, 2)
    area = _sum_tiles(tile_areas + region * tiles * 2, tiles, 2, both, both < 2)
    if block == 0:
        tl.store(areas + step * 2 + both, area)
    channel = block * MAP_CHANNELS + tl.arange(0, MAP_CHANNELS)
    valid = channel < channels
    pointer = sums + region * tiles * 2 * channels
    first = _sum_tiles(pointer, tiles, 2 * channels, channel, valid)
    second = _sum_tiles(pointer + channels, tiles, 2 * channels, channel, valid)
    area1 = tl.sum(tl.where(both == 0, area, 0.0), 0)
    area2 = tl.sum(tl.where(both == 1, area, 0.0), 0)
    first /= tl.maximum(area1, AREA)
    second /= tl.maximum(area2, AREA)
    pair = means + step * 2 * channels + channel
    tl.store(pair, first, mask=valid)
    tl.store(pair + channels, second, mask=valid)
    l1 = tl.load(lambda1 + region)
    l2 = tl.load(lambda2 + region)
    direction, constant = _force(l1, l2, first, second)
    store_factors(factors + region * TABLE, direction, tl.zeros_like(direction), channel, TERMS)
    tl.store(constants + region * BLOCKS + block, constant)


@triton.jit
def _force(l1, l2, first, second):
    """The part of the force that is linear in the features, and a block's part of its constant."""
    return 2 * (l1 * first - l2 * second), tl.sum(l2 * second * second - l1 * first * first, 0)


@triton.jit(do_not_specialize=RUNTIME)
def _backward_pass(
    features, centres, trajectory, grad_trajectory, grad, change, occupancy, squares, normals,
    pulled, coefficients, factors, constants, sums, tile_scalars, grad_features,
    lambda1, lambda2, mu, eps, dt, level, steps, tiles, channels, pixels, height, width,
    MOVE: tl.constexpr, SUM: tl.constexpr, PRINTED: tl.constexpr,
    PIXELS: tl.constexpr, PARTS: tl.constexpr, PIECES: tl.constexpr, TERMS: tl.constexpr,
    ROWS: tl.constexpr, FULL: tl.constexpr, WIDE: tl.constexpr, BLOCKS: tl.constexpr,
    TABLE: tl.constexpr,
):  # fmt: skip
    """Make phi_level's gradient from phi_{level+1}'s (MOVE); sum for the level below (SUM).

    The last pass has no level below and writes the gradient of the features instead.
    """
    tile = tl.program_id(0) % tiles
    region = (tl.program_id(0) // tiles).to(tl.int64)
    phi_row = trajectory + (region * (steps + 1) + level) * pixels
    grad_row = grad_trajectory + (region * (steps + 1) + level) * pixels
    features += region * channels * pixels
    grad_features += region * channels * pixels
    centres += region * channels
    squares += region * pixels
    grad += region * pixels
    all_maps = region * steps * pixels
    coefficients += region * steps * TABLE
    scalars = tile_scalars + (region * steps + level) * 5 * tiles + tile
    sum_row = sums + (region * tiles + tile) * channels
    start = tile * PARTS * PIXELS
    stride = pixels.to(tl.int64) if WIDE else pixels
    difference = tl.load(lambda2 + region) - tl.load(lambda1 + region)
    if MOVE:
        normals += region * 2 * (height + 2) * (width + 2)
        pulled += region * 2 * (height + 2) * (width + 2)
        factor_row = factors + region * TABLE
        matrices = load_factors(factor_row, 0, PIECES, TERMS)
        step = region * steps + level
        offset = _sum_blocks(constants + step * 2 * BLOCKS, BLOCKS)
        constant = _sum_blocks(constants + step * 2 * BLOCKS + BLOCKS, BLOCKS)
        weight = tl.load(mu + region)
        sharpness = tl.load(eps + step)
        pace = tl.load(dt + step)
        for_mu = tl.zeros((PIXELS,), tl.float32)
        for_eps = tl.zeros((PIXELS,), tl.float32)
        for_dt = tl.zeros((PIXELS,), tl.float32)
    if SUM:
        total_sums = no_sums(PIECES, TERMS)
        sum_change = tl.zeros((PIXELS,), tl.float32)
        sum_squares = tl.zeros((PIXELS,), tl.float32)
        below = region * steps + level - 1
        below_change = change + below * pixels
        next_sharpness = tl.load(eps + below)
        next_pace = tl.load(dt + below)
    centre = load_centres(centres, 0, channels, PIECES, TERMS)
    if MOVE:
        row, column = _place(start, width, PIXELS)
    # The last pass has no registers to spare for what other parts could share.
    last: tl.constexpr = PARTS > 1 and not SUM
    for part in tl.range(_parts(start, pixels, PARTS, PIXELS), disable_licm=last):
        pixel = start + part * PIXELS + tl.arange(0, PIXELS)
        inside = tl.full((PIXELS,), True, tl.int1) if FULL else pixel < pixels
        group = read(features, centre, 0, pixel, inside, channels, stride, PIECES, TERMS, FULL)
        total = tl.load(grad_row + pixel, mask=inside, other=0.0)
        if MOVE:
            through_means, force = project(group, matrices, TERMS)
            if ROWS:
                for first in range(ROWS, channels, ROWS):
                    more = read_more(
                        features, centres, first, pixel, inside, channels, stride,
                        PIECES, TERMS, FULL,
                    )  # fmt: skip
                    others = load_factors(factor_row, first, PIECES, TERMS)
                    a, b = project(more, others, TERMS)
                    through_means += a
                    force += b
            through_means += offset
            phi = tl.load(phi_row + pixel, mask=inside, other=0.0)
            radius = phi * phi + sharpness * sharpness
            square = tl.load(squares + pixel, mask=inside, other=0.0)
            row_inside = tl.minimum(row, height - 1)
            bend = divergence(normals, row_inside, column, height, width)
            force += difference * square + constant + weight * bend
            above = tl.load(grad + pixel, mask=inside, other=0.0)
            speed = _speed(radius, sharpness, PRINTED)
            moved = above * pace * speed
            slope = sharpness / (PI * radius)
            total += above - 2 * moved * force * (phi / radius) + through_means * slope
            total += weight * pull_phi(pulled, row_inside, column, height, width)

            ratio = (phi / radius) * (phi / sharpness)
            relative = 2 * ratio if PRINTED else ratio - sharpness / radius
            change_eps = moved * force * relative - through_means * slope * (phi / sharpness)
            for_mu += moved * bend
            for_eps += tl.where(inside, change_eps, 0.0)
            for_dt += above * speed * force
            if PARTS > 1:
                row, column = _next_place(row, column, width, PIXELS)
        else:
            square = squared_norm(group)
        tl.store(grad + pixel, total, mask=inside)
        if SUM:
            phi = tl.load(phi_row - pixels + pixel, mask=inside, other=0.0)
            speed = _speed(phi * phi + next_sharpness * next_sharpness, next_sharpness, PRINTED)
            moved = tl.where(inside, total * next_pace * speed, 0.0)
            tl.store(below_change + pixel, moved, mask=inside)
            total_sums = weigh(group, moved, None, total_sums, TERMS)
            if ROWS:
                for first in range(ROWS, channels, ROWS):
                    more = read_more(
                        features, centres, first, pixel, inside, channels, stride,
                        PIECES, TERMS, FULL,
                    )  # fmt: skip
                    if not MOVE:
                        square += squared_norm(more)
                    others = weigh(more, moved, None, no_sums(PIECES, TERMS), TERMS)
                    store_sums(others, sum_row, None, first, channels, PIECES)
            sum_change += moved
            sum_squares += square * moved
            if not MOVE:
                tl.store(squares + pixel, square, mask=inside)
        else:
            _store_features_gradient(
                grad_features, group, change + all_maps, occupancy + all_maps, coefficients,
                2 * difference,
                0, pixel, inside, steps, channels, pixels, stride, PIECES, TERMS, TABLE,
            )  # fmt: skip
            if ROWS:
                for first in range(ROWS, channels, ROWS):
                    more = read_more(
                        features, centres, first, pixel, inside, channels, stride,
                        PIECES, TERMS, FULL,
                    )  # fmt: skip
                    _store_features_gradient(
                        grad_features, more, change + all_maps, occupancy + all_maps, coefficients,
                        2 * difference,
                        first, pixel, inside, steps, channels, pixels, stride, PIECES, TERMS,
                        TABLE,
                    )  # fmt: skip
    if MOVE:
        tl.store(scalars + GRAD_MU * tiles, tl.sum(for_mu, 0))
        tl.store(scalars + GRAD_EPS * tiles, tl.sum(for_eps, 0))
        tl.store(scalars + GRAD_DT * tiles, tl.sum(for_dt, 0))
    if SUM:
        scalars -= 5 * tiles
        store_sums(total_sums, sum_row, None, 0, channels, PIECES)
        tl.store(scalars + SUM_CHANGE * tiles, tl.sum(sum_change, 0))
        tl.store(scalars + SUM_SQUARES * tiles, tl.sum(sum_squares, 0))


@triton.jit
def _store_features_gradient(
    grad_features, group, change, occupancy, coefficients, weight,
    start, pixel, inside, steps, channels, pixels, stride,
    PIECES: tl.constexpr, TERMS: tl.constexpr, TABLE: tl.constexpr,
):  # fmt: skip
    """Store 2 (lambda2 - lambda1) F sum_n u_n, plus each step's part from its coefficients."""
    for i in tl.static_range(len(PIECES)):
        channel = start + tl.arange(0, PIECES[i])
        factor = tl.zeros(pixel.shape, tl.float32)
        valid = channel < channels
        result = zeros(PIECES[i], pixel.shape[0])
        change_row = change
        occupancy_row = occupancy
        for n in range(steps):
            moved = tl.load(change_row + pixel, mask=inside, other=0.0)
            within = tl.load(occupancy_row + pixel, mask=inside, other=0.0)
            factor += moved
            change_row += pixels
            occupancy_row += pixels
            maps = pixel_factors(moved, within, TERMS)
            result = add_outer(result, coefficients + n * TABLE, maps, channel, TERMS)
        result += whole(group[i]) * (weight * factor)[None, :]
        tl.store(
            grad_features + (channel * stride)[:, None] + pixel[None, :],
            result.to(grad_features.dtype.element_ty),
            mask=valid[:, None] & inside[None, :],
        )
        start += PIECES[i]


@triton.jit(do_not_specialize=RUNTIME)
def _backward_maps(
    trajectory, change, occupancy, normals, pulled, sums, tile_scalars, means, areas,
    sum_features, coefficients, factors, constants, lambda1, lambda2, eps,
    level, steps, blocks, tiles, channels, height, width, eta,
    MAP_PIXELS: tl.constexpr, MAP_CHANNELS: tl.constexpr, BLOCKS: tl.constexpr,
    TABLE: tl.constexpr, TERMS: tl.constexpr,
):  # fmt: skip
    """Make the maps of phi_level for its pass; the first programs also finish b1/A1 and b2/A2."""
    block = tl.program_id(0) % blocks
    region = (tl.program_id(0) // blocks).to(tl.int64)
    pixels = height * width
    pitch = width + 2
    frame = (height + 2) * pitch
    pixel = block * MAP_PIXELS + tl.arange(0, MAP_PIXELS)
    row = pixel // pitch - 1
    column = pixel % pitch - 1
    phi = trajectory + (region * (steps + 1) + level) * pixels
    step = region * steps + level
    x, y, scale = gradient(phi, row, column, height, width, eta)
    back_x, back_y = pull_normal(x, y, scale, change + step * pixels, row, column, height, width)
    out = normals + region * 2 * frame + pixel
    tl.store(out, x * scale, mask=pixel < frame)
    tl.store(out + frame, y * scale, mask=pixel < frame)
    out = pulled + region * 2 * frame + pixel
    tl.store(out, back_x, mask=pixel < frame)
    tl.store(out + frame, back_y, mask=pixel < frame)
    inside = pixel < pixels
    within, _ = heaviside(tl.load(phi + pixel, mask=inside, other=0.0), tl.load(eps + step))
    tl.store(occupancy + step * pixels + pixel, within, mask=inside)

    if block < BLOCKS:
        _finish_coefficients(
            sums, tile_scalars, means, areas, sum_features, coefficients, factors, constants,
            lambda1, lambda2,
            region, step, block, channels, tiles, MAP_CHANNELS, BLOCKS, TABLE, TERMS,
        )  # fmt: skip


@triton.jit
def _finish_coefficients(
    sums, tile_scalars, means, areas, sum_features, coefficients, factors, constants,
    lambda1, lambda2,
    region, step, block, channels, tiles, MAP_CHANNELS: tl.constexpr, BLOCKS: tl.constexpr,
    TABLE: tl.constexpr, TERMS: tl.constexpr,
):  # fmt: skip
    """Store U1 and the coefficients of one block of channels, from the tiles' sums."""
    channel = block * MAP_CHANNELS + tl.arange(0, MAP_CHANNELS)
    valid = channel < channels
    total = _sum_scalars(tile_scalars + (step * 5 + SUM_CHANGE) * tiles, tiles)
    product = _sum_tiles(sums + region * tiles * channels, tiles, channels, channel, valid)
    tl.store(sum_features + step * channels + channel, product, mask=valid)
    pair = means + step * 2 * channels + channel
    first = tl.load(pair, mask=valid, other=0.0)
    second = tl.load(pair + channels, mask=valid, other=0.0)
    area1 = tl.load(areas + step * 2)
    area2 = tl.load(areas + step * 2 + 1)
    l1 = tl.load(lambda1 + region)
    l2 = tl.load(lambda2 + region)
    pull1 = 2 * l1 * (product - first * total) / tl.maximum(area1, AREA)
    pull2 = -2 * l2 * (product - second * total) / tl.maximum(area2, AREA)
    # A clamped area has no gradient.
    offset = tl.where(area2 > AREA, pull2 * second, 0.0)
    offset -= tl.where(area1 > AREA, pull1 * first, 0.0)
    direction, constant = _force(l1, l2, first, second)
    row = coefficients + step * TABLE
    store_outer(row, direction, pull1 - pull2, pull2, channel, TERMS)
    store_factors(factors + region * TABLE, pull1 - pull2, direction, channel, TERMS)
    row = constants + step * 2 * BLOCKS + block
    tl.store(row, tl.sum(offset, 0))
    tl.store(row + BLOCKS, constant)


@triton.jit(do_not_specialize=["steps"])
def _backward_scalars(
    tile_scalars, sum_features, means,
    grad_lambda1, grad_lambda2, grad_mu, grad_eps, grad_dt,
    steps, channels, tiles, CHANNELS: tl.constexpr,
):  # fmt: skip
    """Store the gradients of one region's five scalars, from the tiles' sums."""
    region = tl.program_id(0).to(tl.int64)
    for_lambda1 = 0.0
    for_lambda2 = 0.0
    for_mu = 0.0
    for n in range(steps):
        step = region * steps + n
        scalars = tile_scalars + step * 5 * tiles
        total = _sum_scalars(scalars + SUM_CHANGE * tiles, tiles)
        squares = _sum_scalars(scalars + SUM_SQUARES * tiles, tiles)
        distance1 = tl.zeros((CHANNELS,), tl.float32)
        distance2 = tl.zeros((CHANNELS,), tl.float32)
        for start in range(0, channels, CHANNELS):
            channel = start + tl.arange(0, CHANNELS)
            valid = channel < channels
            pair = means + step * 2 * channels + channel
            first = tl.load(pair, mask=valid, other=0.0)
            second = tl.load(pair + channels, mask=valid, other=0.0)
            product = tl.load(sum_features + step * channels + channel, mask=valid, other=0.0)
            distance1 += first * (total * first - 2 * product)
            distance2 += second * (total * second - 2 * product)
        for_lambda1 -= squares + tl.sum(distance1, 0)
        for_lambda2 += squares + tl.sum(distance2, 0)
        for_mu += _sum_scalars(scalars + GRAD_MU * tiles, tiles)
        tl.store(grad_eps + step, _sum_scalars(scalars + GRAD_EPS * tiles, tiles))
        tl.store(grad_dt + step, _sum_scalars(scalars + GRAD_DT * tiles, tiles))
    tl.store(grad_lambda1 + region, for_lambda1)
    tl.store(grad_lambda2 + region, for_lambda2)
    tl.store(grad_mu + region, for_mu)


def tile_shape(features: Tensor) -> dict[str, Any]:
    """Return how the passes cut a region into tiles, as the kernels' constants.

    A tile has ``PARTS`` parts of ``PIXELS`` pixels, one after another in a program of 128 threads.
    A group of up to 80 channels stays in registers or shared memory while a pass needs it, so its
    features are read once. With more channels there are more groups, of ``ROWS`` channels each. All
    groups but the first are read twice, the second time mostly from the cache.
    """
    channels, pixels = features.shape[1], features.shape[2] * features.shape[3]
    terms = 2 if features.dtype == torch.bfloat16 else 0
    groups = triton.cdiv(channels, 80)
    rows = triton.cdiv(channels, 16 * groups) * 16
    columns = 128
    # Many parts spare work that a tile needs once, few parts make enough programs.
    parts = max(1, min(triton.cdiv(pixels, columns) // 8, 10))
    blocks = triton.next_power_of_2(triton.cdiv(channels, MAP_CHANNELS))
    return dict(
        PIXELS=columns,
        PARTS=parts if terms and groups == 1 else 1,
        PIECES=tuple(size for size in (64, 32, 16) if rows & size),
        TERMS=terms,
        ROWS=rows if groups > 1 else 0,
        FULL=channels == rows and pixels % columns == 0,
        WIDE=channels * pixels >= 2**31,
        BLOCKS=blocks,
        TABLE=max(blocks * MAP_CHANNELS, groups * rows) * (16 if terms else 4),
    )


def _table(features: Tensor, *sizes: int) -> Tensor:
    """Room for the factors of products, zero where a group has no channel."""
    half = features.dtype == torch.bfloat16
    return features.new_zeros(sizes, dtype=torch.bfloat16 if half else torch.float32)


def forward(
    phi0: Tensor,
    features: Tensor,
    lambda1: Tensor,
    lambda2: Tensor,
    mu: Tensor,
    eps: Tensor,
    dt: Tensor,
    eta: float,
    printed_delta: bool,
    spacing: Sequence[float] = (1.0, 1.0),  # the only one that the kernels take
) -> tuple[Tensor, Tensor, Tensor]:
    """As :func:`mmlevelset.ops.evolution_torch.forward`, but the means have another centre."""
    features, lambda1, lambda2, mu, eps, dt = map(
        Tensor.contiguous, (features, lambda1, lambda2, mu, eps, dt)
    )
    count, channels, height, width = features.shape
    steps, pixels = eps.shape[1], height * width
    trajectory = phi0.new_empty(count, steps + 1, height, width)
    trajectory[:, 0] = phi0
    means = phi0.new_empty(count, steps, 2, channels)
    areas = phi0.new_empty(count, steps, 2)
    if not features.numel() or not steps:
        return trajectory, means, areas
    shape = tile_shape(features)
    maps = {key: shape[key] for key in ("BLOCKS", "TABLE", "TERMS")}
    tiles = triton.cdiv(pixels, shape["PIXELS"] * shape["PARTS"])
    blocks = max(triton.cdiv((height + 2) * (width + 2), MAP_PIXELS), shape["BLOCKS"])
    squares = phi0.new_empty(count, pixels)
    normals = phi0.new_empty(count, 2, height + 2, width + 2)
    sums = phi0.new_empty(count, tiles, 2, channels)
    tile_areas = phi0.new_empty(count, tiles, 2)
    factors = _table(features, count, shape["TABLE"])
    constants = phi0.new_empty(count, shape["BLOCKS"])
    centres = phi0.new_empty(count, channels)
    with on_device(features):
        _centres[(count,)](features, centres, channels, pixels, CHANNELS=16, num_warps=1)
        for level in range(steps + 1):
            _forward_pass[(tiles * count,)](
                features, centres, trajectory, squares, normals, factors, constants, sums,
                tile_areas,
                lambda1, lambda2, mu, eps, dt, level, steps, tiles, channels, pixels,
                height, width, MOVE=level > 0, SUM=level < steps, PRINTED=printed_delta,
                **shape, num_warps=4, num_stages=1,
            )  # fmt: skip
            if level < steps:
                _forward_maps[(blocks * count,)](
                    trajectory, normals, sums, tile_areas, means, areas, factors, constants,
                    lambda1, lambda2, level, steps, blocks, tiles, channels, height, width, eta,
                    MAP_PIXELS=MAP_PIXELS, MAP_CHANNELS=MAP_CHANNELS, **maps, num_warps=4,
                )  # fmt: skip
    return trajectory, means, areas


def backward(
    grad_trajectory: Tensor,
    trajectory: Tensor,
    features: Tensor,
    means: Tensor,
    areas: Tensor,
    lambda1: Tensor,
    lambda2: Tensor,
    mu: Tensor,
    eps: Tensor,
    dt: Tensor,
    eta: float,
    printed_delta: bool,
    spacing: Sequence[float] = (1.0, 1.0),  # the only one that the kernels take
) -> tuple[Tensor, ...]:
    """Gradients of phi0, features, lambda1, lambda2, mu, eps and dt."""
    grad_trajectory, trajectory, features, means, areas = map(
        Tensor.contiguous, (grad_trajectory, trajectory, features, means, areas)
    )
    lambda1, lambda2, mu, eps, dt = map(Tensor.contiguous, (lambda1, lambda2, mu, eps, dt))
    count, channels, height, width = features.shape
    steps, pixels = eps.shape[1], height * width
    scalars = tuple(torch.zeros_like(value) for value in (lambda1, lambda2, mu, eps, dt))
    if not features.numel() or not steps:
        return grad_trajectory[:, 0].clone(), torch.zeros_like(features), *scalars
    new = trajectory.new_empty
    shape = tile_shape(features)
    maps = {key: shape[key] for key in ("BLOCKS", "TABLE", "TERMS")}
    tiles = triton.cdiv(pixels, shape["PIXELS"] * shape["PARTS"])
    blocks = max(triton.cdiv((height + 2) * (width + 2), MAP_PIXELS), shape["BLOCKS"])
    grad, squares = new(count, height, width), new(count, pixels)
    normals, pulled = (new(count, 2, height + 2, width + 2) for _ in range(2))
    change, occupancy = new(count, steps, pixels), new(count, steps, pixels)
    sums, tile_scalars = new(count, tiles, channels), new(count, steps, 5, tiles)
    sum_features = new(count, steps, channels)
    coefficients = _table(features, count, steps, shape["TABLE"])
    constants = new(count, steps, 2, shape["BLOCKS"])
    factors = _table(features, count, shape["TABLE"])
    grad_features = torch.empty_like(features)
    centres = new(count, channels)
    with on_device(features):
        _centres[(count,)](features, centres, channels, pixels, CHANNELS=16, num_warps=1)
        for level in reversed(range(steps + 1)):
            _backward_pass[(tiles * count,)](
                features, centres, trajectory, grad_trajectory, grad, change, occupancy, squares,
                normals, pulled, coefficients, factors, constants, sums, tile_scalars,
                grad_features, lambda1, lambda2, mu, eps, dt, level, steps, tiles, channels, pixels,
                height, width, MOVE=level < steps, SUM=level > 0, PRINTED=printed_delta,
                **shape, num_warps=4, num_stages=1,
            )  # fmt: skip
            if level > 0:
                _backward_maps[(blocks * count,)](
                    trajectory, change, occupancy, normals, pulled, sums, tile_scalars, means,
                    areas, sum_features, coefficients, factors, constants, lambda1, lambda2, eps,
                    level - 1, steps, blocks, tiles, channels, height, width, eta,
                    MAP_PIXELS=MAP_PIXELS, MAP_CHANNELS=MAP_CHANNELS, **maps, num_warps=4,
                )  # fmt: skip
        _backward_scalars[(count,)](
            tile_scalars, sum_features, means, *scalars,
            steps, channels, tiles, CHANNELS=16, num_warps=4,
        )  # fmt: skip
    return grad, grad_features, *scalars
