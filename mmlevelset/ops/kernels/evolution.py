"""The unrolled evolution on CUDA: N+1 passes over the features, backward also one write of them.

A step needs the region means, which are sums over all pixels, so each pass is a launch of its own.
A pass moves phi, then sums the features under the moved phi for the next step. For the sums it
reads its tile again from the cache: last channels first, because they were read last.
Between two passes a small launch, which moves few bytes, adds up the tiles' sums and filters phi.
Sums are added in a fixed order without atomics, so that two runs give the same bits.

The features are centred, which keeps |F - c|^2 from cancelling and changes neither the result nor a
gradient. The centre is the median of three pixels, since a single pixel may be an outlier. Shapes
are as in ``mmlevelset.ops.evolution``; P is the number of pixels of a map, T its number of tiles.

The backward pass reverses the step phi_s -> phi_{s+1}. G is the gradient of phi_{s+1}, and
u = G dt delta(phi_s) is the gradient of the force. The sums U1 = sum u F and U0 = sum u give the
gradients b1 = 2 lambda1 (U1 - c1 U0) and b2 = -2 lambda2 (U1 - c2 U0) of the means c1 and c2.
"""

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

from mmlevelset.ops.kernels import on_device
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

# Rows of the channels' coefficients (M, N, 5, C) in the backward pass.
DIRECTION = tl.constexpr(0)  # 2 (lambda1 c1 - lambda2 c2): factor of F in the force
CONSTANT = tl.constexpr(1)  # lambda2 c2^2 - lambda1 c1^2: their sum is the force's constant
PULL = tl.constexpr(2)  # b1 / A1 - b2 / A2: factor of F in the gradient through the means
OFFSET = tl.constexpr(3)  # b2 c2 / A2 - b1 c1 / A1: their sum is the constant of that gradient
SHIFT = tl.constexpr(4)  # b2 / A2: the part of F's gradient that all pixels share

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
def _tile(features, centres, region, channel, pixel, inside, channels, pixels):
    """Centred features (channel, pixel) of one region in float32."""
    valid = channel < channels
    row = features + region * channels * pixels + channel.to(tl.int64) * pixels
    centre = tl.load(centres + region * channels + channel, mask=valid, other=0.0)
    values = tl.load(
        row[:, None] + pixel[None, :], mask=valid[:, None] & inside[None, :], other=0.0
    )
    return values.to(tl.float32) - centre[:, None]


@triton.jit
def _divergence(normals, region, pixel, height, width):
    pixel = tl.minimum(pixel, height * width - 1)
    vectors = normals + region * 2 * (height + 2) * (width + 2)
    return divergence(vectors, pixel // width, pixel % width, height, width)


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
    features, centres, trajectory, squares, normals, means, sums, areas,
    lambda1, lambda2, mu, eps, dt, level, steps, tiles, channels, pixels, height, width,
    MOVE: tl.constexpr, SUM: tl.constexpr, PRINTED: tl.constexpr,
    CHANNELS: tl.constexpr, PIXELS: tl.constexpr,
):  # fmt: skip
    """Make phi_level from phi_{level-1} (MOVE); sum the tile's features under phi_level (SUM)."""
    tile = tl.program_id(0) % tiles
    region = (tl.program_id(0) // tiles).to(tl.int64)
    pixel = tile * PIXELS + tl.arange(0, PIXELS)
    inside = pixel < pixels
    map_pixel = region * pixels + pixel
    phi_row = trajectory + (region * (steps + 1) + level) * pixels
    if MOVE:
        step = region * steps + level - 1
        l1 = tl.load(lambda1 + region)
        l2 = tl.load(lambda2 + region)
        products = tl.zeros((CHANNELS, PIXELS), tl.float32)
        constant = tl.zeros((CHANNELS,), tl.float32)
        for start in range(0, channels, CHANNELS):
            channel = start + tl.arange(0, CHANNELS)
            pair = means + step * 2 * channels + channel
            first = tl.load(pair, mask=channel < channels, other=0.0)
            second = tl.load(pair + channels, mask=channel < channels, other=0.0)
            values = _tile(features, centres, region, channel, pixel, inside, channels, pixels)
            products += values * (2 * (l1 * first - l2 * second))[:, None]
            constant += l2 * second * second - l1 * first * first
        square = tl.load(squares + map_pixel, mask=inside, other=0.0)
        data = (l2 - l1) * square + tl.sum(products, 0) + tl.sum(constant, 0)
        bend = _divergence(normals, region, pixel, height, width)
        force = tl.load(mu + region) * bend + data
        phi = tl.load(phi_row - pixels + pixel, mask=inside, other=0.0)
        sharpness = tl.load(eps + step)
        radius = phi * phi + sharpness * sharpness
        phi += tl.load(dt + step) * _speed(radius, sharpness, PRINTED) * force
        tl.store(phi_row + pixel, phi, mask=inside)
    else:
        phi = tl.load(phi_row + pixel, mask=inside, other=0.0)
        square = _squares(features, centres, region, pixel, inside, channels, pixels, CHANNELS)
        tl.store(squares + map_pixel, square, mask=inside)
    if SUM:
        within, without = heaviside(phi, tl.load(eps + region * steps + level))
        within = tl.where(inside, within, 0.0)
        without = tl.where(inside, without, 0.0)
        row = region * tiles + tile
        for back in range(0, channels, CHANNELS):
            channel = (channels - 1) // CHANNELS * CHANNELS - back + tl.arange(0, CHANNELS)
            values = _tile(features, centres, region, channel, pixel, inside, channels, pixels)
            pair = sums + row * 2 * channels + channel
            tl.store(pair, tl.sum(values * within[None, :], 1), mask=channel < channels)
            tl.store(pair + channels, tl.sum(values * without[None, :], 1), mask=channel < channels)
        tl.store(areas + row * 2, tl.sum(within, 0))
        tl.store(areas + row * 2 + 1, tl.sum(without, 0))


@triton.jit
def _squares(
    features, centres, region, pixel, inside, channels, pixels, CHANNELS: tl.constexpr
):  # fmt: skip
    """Squared norms of the features at the tile's pixels."""
    squares = tl.zeros((CHANNELS, pixel.shape[0]), tl.float32)
    for start in range(0, channels, CHANNELS):
        channel = start + tl.arange(0, CHANNELS)
        values = _tile(features, centres, region, channel, pixel, inside, channels, pixels)
        squares += values * values
    return tl.sum(squares, 0)


@triton.jit(do_not_specialize=RUNTIME)
def _forward_maps(
    trajectory, normals, sums, tile_areas, means, areas,
    level, steps, blocks, tiles, channels, height, width, eta,
    MAP_PIXELS: tl.constexpr, MAP_CHANNELS: tl.constexpr,
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

    if block * MAP_CHANNELS < channels:
        _finish_means(
            sums, tile_areas, means, areas,
            region, region * steps + level, block, channels, tiles, MAP_CHANNELS,
        )  # fmt: skip


@triton.jit
def _finish_means(
    sums, tile_areas, means, areas, region, step, block, channels, tiles,
    MAP_CHANNELS: tl.constexpr,
):  # fmt: skip
    """Store the areas, and the means of one block of channels, from the tiles' sums."""
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
    pair = means + step * 2 * channels + channel
    tl.store(pair, first / tl.maximum(area1, AREA), mask=valid)
    tl.store(pair + channels, second / tl.maximum(area2, AREA), mask=valid)


@triton.jit(do_not_specialize=RUNTIME)
def _backward_pass(
    features, centres, trajectory, grad_trajectory, grad, change, occupancy, squares, normals,
    pulled, coefficients, sums, tile_scalars, grad_features,
    lambda1, lambda2, mu, eps, dt, level, steps, tiles, channels, pixels, height, width,
    MOVE: tl.constexpr, SUM: tl.constexpr, PRINTED: tl.constexpr,
    CHANNELS: tl.constexpr, PIXELS: tl.constexpr,
):  # fmt: skip
    """Make phi_level's gradient from phi_{level+1}'s (MOVE); sum for the level below (SUM).

    The last pass has no level below and writes the gradient of the features instead.
    """
    tile = tl.program_id(0) % tiles
    region = (tl.program_id(0) // tiles).to(tl.int64)
    pixel = tile * PIXELS + tl.arange(0, PIXELS)
    inside = pixel < pixels
    map_pixel = region * pixels + pixel
    phi_row = trajectory + (region * (steps + 1) + level) * pixels
    grad_row = grad_trajectory + (region * (steps + 1) + level) * pixels
    total = tl.load(grad_row + pixel, mask=inside, other=0.0)
    scalars = tile_scalars + region * steps * 5 * tiles + tile
    l1 = tl.load(lambda1 + region)
    l2 = tl.load(lambda2 + region)
    if MOVE:
        step = region * steps + level
        phi = tl.load(phi_row + pixel, mask=inside, other=0.0)
        sharpness = tl.load(eps + step)
        radius = phi * phi + sharpness * sharpness
        square = tl.load(squares + map_pixel, mask=inside, other=0.0)
        through_means, force = _project(
            features, centres, coefficients + step * 5 * channels,
            region, pixel, inside, channels, pixels, CHANNELS,
        )  # fmt: skip
        bend = _divergence(normals, region, pixel, height, width)
        force += (l2 - l1) * square + tl.load(mu + region) * bend
        above = tl.load(grad + map_pixel, mask=inside, other=0.0)
        speed = _speed(radius, sharpness, PRINTED)
        moved = above * tl.load(dt + step) * speed
        slope = sharpness / (PI * radius)
        total += above - 2 * moved * force * (phi / radius) + through_means * slope
        total += tl.load(mu + region) * _pull_phi(pulled, region, pixel, height, width)

        ratio = (phi / radius) * (phi / sharpness)
        relative = 2 * ratio if PRINTED else ratio - sharpness / radius
        for_eps = moved * force * relative - through_means * slope * (phi / sharpness)
        out = scalars + level * 5 * tiles
        tl.store(out + GRAD_MU * tiles, tl.sum(moved * bend, 0))
        tl.store(out + GRAD_EPS * tiles, tl.sum(tl.where(inside, for_eps, 0.0), 0))
        tl.store(out + GRAD_DT * tiles, tl.sum(above * speed * force, 0))
    else:
        square = _squares(features, centres, region, pixel, inside, channels, pixels, CHANNELS)
        tl.store(squares + map_pixel, square, mask=inside)
    tl.store(grad + map_pixel, total, mask=inside)
    if SUM:
        below = region * steps + level - 1
        phi = tl.load(phi_row - pixels + pixel, mask=inside, other=0.0)
        sharpness = tl.load(eps + below)
        speed = _speed(phi * phi + sharpness * sharpness, sharpness, PRINTED)
        moved = tl.where(inside, total * tl.load(dt + below) * speed, 0.0)
        tl.store(change + below * pixels + pixel, moved, mask=inside)
        for back in range(0, channels, CHANNELS):
            channel = (channels - 1) // CHANNELS * CHANNELS - back + tl.arange(0, CHANNELS)
            values = _tile(features, centres, region, channel, pixel, inside, channels, pixels)
            entry = sums + (region * tiles + tile) * channels + channel
            tl.store(entry, tl.sum(values * moved[None, :], 1), mask=channel < channels)
        out = scalars + (level - 1) * 5 * tiles
        tl.store(out + SUM_CHANGE * tiles, tl.sum(moved, 0))
        tl.store(out + SUM_SQUARES * tiles, tl.sum(square * moved, 0))
    else:
        _store_features_gradient(
            grad_features, features, centres, change, occupancy, coefficients, 2 * (l2 - l1),
            region, pixel, inside, steps, channels, pixels, CHANNELS,
        )  # fmt: skip


@triton.jit
def _project(
    features,
    centres,
    coefficients,
    region,
    pixel,
    inside,
    channels,
    pixels,
    CHANNELS: tl.constexpr,
):
    """The gradient through the means, and the part of the force that is linear in the features."""
    through = tl.zeros((CHANNELS, pixel.shape[0]), tl.float32)
    force = tl.zeros((CHANNELS, pixel.shape[0]), tl.float32)
    offset = tl.zeros((CHANNELS,), tl.float32)
    constant = tl.zeros((CHANNELS,), tl.float32)
    for start in range(0, channels, CHANNELS):
        channel = start + tl.arange(0, CHANNELS)
        valid = channel < channels
        row = coefficients + channel
        values = _tile(features, centres, region, channel, pixel, inside, channels, pixels)
        through += values * tl.load(row + PULL * channels, mask=valid, other=0.0)[:, None]
        force += values * tl.load(row + DIRECTION * channels, mask=valid, other=0.0)[:, None]
        offset += tl.load(row + OFFSET * channels, mask=valid, other=0.0)
        constant += tl.load(row + CONSTANT * channels, mask=valid, other=0.0)
    return tl.sum(through, 0) + tl.sum(offset, 0), tl.sum(force, 0) + tl.sum(constant, 0)


@triton.jit
def _store_features_gradient(
    grad_features, features, centres, change, occupancy, coefficients, weight,
    region, pixel, inside, steps, channels, pixels,
    CHANNELS: tl.constexpr,
):  # fmt: skip
    """Store 2 (lambda2 - lambda1) F sum_n u_n, plus each step's part from its coefficients."""
    for back in range(0, channels, CHANNELS):
        channel = (channels - 1) // CHANNELS * CHANNELS - back + tl.arange(0, CHANNELS)
        valid = channel < channels
        factor = tl.zeros(pixel.shape, tl.float32)
        shift = tl.zeros(channel.shape, tl.float32)
        result = tl.zeros((CHANNELS, pixel.shape[0]), tl.float32)
        for n in range(steps):
            step = region * steps + n
            moved = tl.load(change + step * pixels + pixel, mask=inside, other=0.0)
            within = tl.load(occupancy + step * pixels + pixel, mask=inside, other=0.0)
            row = coefficients + step * 5 * channels + channel
            direction = tl.load(row + DIRECTION * channels, mask=valid, other=0.0)
            toward = tl.load(row + PULL * channels, mask=valid, other=0.0)
            shift += tl.load(row + SHIFT * channels, mask=valid, other=0.0)
            factor += moved
            result += direction[:, None] * moved[None, :]
            result += toward[:, None] * within[None, :]
        values = _tile(features, centres, region, channel, pixel, inside, channels, pixels)
        result += values * (weight * factor)[None, :] + shift[:, None]
        out = grad_features + region * channels * pixels + channel.to(tl.int64) * pixels
        tl.store(
            out[:, None] + pixel[None, :],
            result.to(grad_features.dtype.element_ty),
            mask=valid[:, None] & inside[None, :],
        )


@triton.jit
def _pull_phi(pulled, region, pixel, height, width):
    pixel = tl.minimum(pixel, height * width - 1)
    vectors = pulled + region * 2 * (height + 2) * (width + 2)
    return pull_phi(vectors, pixel // width, pixel % width, height, width)


@triton.jit(do_not_specialize=RUNTIME)
def _backward_maps(
    trajectory, change, occupancy, normals, pulled, sums, tile_scalars, means, areas,
    sum_features, coefficients, lambda1, lambda2, eps,
    level, steps, blocks, tiles, channels, height, width, eta,
    MAP_PIXELS: tl.constexpr, MAP_CHANNELS: tl.constexpr,
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

    if block * MAP_CHANNELS < channels:
        _finish_coefficients(
            sums, tile_scalars, means, areas, sum_features, coefficients, lambda1, lambda2,
            region, step, block, channels, tiles, MAP_CHANNELS,
        )  # fmt: skip


@triton.jit
def _finish_coefficients(
    sums, tile_scalars, means, areas, sum_features, coefficients, lambda1, lambda2,
    region, step, block, channels, tiles,
    MAP_CHANNELS: tl.constexpr,
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
    row = coefficients + step * 5 * channels + channel
    tl.store(row + DIRECTION * channels, 2 * (l1 * first - l2 * second), mask=valid)
    constant = l2 * second * second - l1 * first * first
    tl.store(row + CONSTANT * channels, constant, mask=valid)
    tl.store(row + PULL * channels, pull1 - pull2, mask=valid)
    tl.store(row + OFFSET * channels, offset, mask=valid)
    tl.store(row + SHIFT * channels, pull2, mask=valid)


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


def tile_shape(itemsize: int) -> tuple[int, int]:
    """Channels and pixels of a tile; a warp loads a row of pixels at once, 16 bytes per lane.

    A program has 128 threads. With fewer pixels than threads it would repeat its work on maps.
    """
    return 16, 256 if itemsize == 2 else 128


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
    rows, columns = tile_shape(features.element_size())
    tiles, blocks = triton.cdiv(pixels, columns), _map_programs(height, width, channels)
    squares = phi0.new_empty(count, pixels)
    normals = phi0.new_empty(count, 2, height + 2, width + 2)
    sums = phi0.new_empty(count, tiles, 2, channels)
    tile_areas = phi0.new_empty(count, tiles, 2)
    centres = phi0.new_empty(count, channels)
    with on_device(features):
        _centres[(count,)](features, centres, channels, pixels, CHANNELS=rows, num_warps=1)
        for level in range(steps + 1):
            _forward_pass[(tiles * count,)](
                features, centres, trajectory, squares, normals, means, sums, tile_areas,
                lambda1, lambda2, mu, eps, dt, level, steps, tiles, channels, pixels,
                height, width, MOVE=level > 0, SUM=level < steps, PRINTED=printed_delta,
                CHANNELS=rows, PIXELS=columns, num_warps=4, num_stages=1,
            )  # fmt: skip
            if level < steps:
                _forward_maps[(blocks * count,)](
                    trajectory, normals, sums, tile_areas, means, areas,
                    level, steps, blocks, tiles, channels, height, width, eta,
                    MAP_PIXELS=MAP_PIXELS, MAP_CHANNELS=MAP_CHANNELS, num_warps=4,
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
    rows, columns = tile_shape(features.element_size())
    tiles, blocks = triton.cdiv(pixels, columns), _map_programs(height, width, channels)
    grad, squares = new(count, height, width), new(count, pixels)
    normals, pulled = (new(count, 2, height + 2, width + 2) for _ in range(2))
    change, occupancy = new(count, steps, pixels), new(count, steps, pixels)
    sums, tile_scalars = new(count, tiles, channels), new(count, steps, 5, tiles)
    sum_features, coefficients = new(count, steps, channels), new(count, steps, 5, channels)
    grad_features = torch.empty_like(features)
    centres = new(count, channels)
    with on_device(features):
        _centres[(count,)](features, centres, channels, pixels, CHANNELS=rows, num_warps=1)
        for level in reversed(range(steps + 1)):
            _backward_pass[(tiles * count,)](
                features, centres, trajectory, grad_trajectory, grad, change, occupancy, squares,
                normals, pulled, coefficients, sums, tile_scalars, grad_features,
                lambda1, lambda2, mu, eps, dt, level, steps, tiles, channels, pixels,
                height, width, MOVE=level < steps, SUM=level > 0, PRINTED=printed_delta,
                CHANNELS=rows, PIXELS=columns, num_warps=4, num_stages=1,
            )  # fmt: skip
            if level > 0:
                _backward_maps[(blocks * count,)](
                    trajectory, change, occupancy, normals, pulled, sums, tile_scalars, means,
                    areas, sum_features, coefficients, lambda1, lambda2, eps,
                    level - 1, steps, blocks, tiles, channels, height, width, eta,
                    MAP_PIXELS=MAP_PIXELS, MAP_CHANNELS=MAP_CHANNELS, num_warps=4,
                )  # fmt: skip
        _backward_scalars[(count,)](
            tile_scalars, sum_features, means, *scalars,
            steps, channels, tiles, CHANNELS=rows, num_warps=4,
        )  # fmt: skip
    return grad, grad_features, *scalars


def _map_programs(height: int, width: int, channels: int) -> int:
    """Number of programs for the maps of one region: all frame pixels, and all channels' sums."""
    frame = (height + 2) * (width + 2)
    return max(triton.cdiv(frame, MAP_PIXELS), triton.cdiv(channels, MAP_CHANNELS))
