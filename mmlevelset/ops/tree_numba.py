"""Spanning trees and tree filters on a CPU, compiled by Numba at their first call.

The sweeps hold sums in float64, since the gradients of the weights are small differences of sums
over many pixels. This costs no time.
"""

import numpy as np
import torch
from torch import Tensor

from mmlevelset.ops.compiled import compiled

_DIGIT = 11  # bits
_TILE = 16  # pixels: one cache line of float32


def spanning_tree(weights: Tensor, height: int, width: int) -> tuple[Tensor, Tensor, Tensor]:
    """Parents (B, V), depth-first order (B, V) and heights (B,) from edge weights (B, E)."""
    pixels = height * width
    parent = torch.zeros(len(weights), pixels, dtype=torch.int64)
    order = torch.zeros_like(parent)
    heights = torch.zeros(len(weights), dtype=torch.int64)
    for image, row in enumerate(weights):
        if row.dtype == torch.float32:
            ranked = _ranked(row.numpy().view(np.uint32))
        else:
            ranked = row.sort(stable=True).indices.numpy()
        is_open = _kruskal(ranked, height, width)
        heights[image] = _root(is_open, width, parent[image].numpy(), order[image].numpy())
    return parent, order, heights


def forward(
    x: Tensor, weight: Tensor, parent: Tensor, order: Tensor, height: Tensor
) -> tuple[Tensor, Tensor]:
    """S x / S 1 (B, K, V), and S 1 (B, V) in float64."""
    result, norm = x.new_empty(x.shape), x.new_empty(weight.shape, dtype=torch.float64)
    for arrays in zip(*_arrays(x, weight, parent, order, result, norm), strict=True):
        _forward(*arrays)
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
    grad_x = x.new_empty(x.shape)
    if not needs_weight:
        for arrays in zip(*_arrays(grad, weight, parent, order, norm, grad_x), strict=True):
            _backward_x(*arrays)
        return grad_x, x.new_empty(0, 0)
    grad_weight = x.new_empty(weight.shape)
    tensors = grad, x, weight, parent, order, result, norm, grad_x, grad_weight
    for arrays in zip(*_arrays(*tensors), strict=True):
        _backward(*arrays)
    return grad_x, grad_weight


def _arrays(*tensors: Tensor) -> list[np.ndarray]:
    return [tensor.detach().contiguous().numpy() for tensor in tensors]


@compiled
def _ranked(bits):
    """Stable order of non-negative float32 numbers by radix sort: their bits sort as integers."""
    count = len(bits)
    source, target = np.empty(count, np.uint64), np.empty(count, np.uint64)
    for i in range(count):
        source[i] = np.uint64(bits[i]) << np.uint64(32) | np.uint64(i)
    mask = np.uint64((1 << _DIGIT) - 1)
    for shift in range(32, 64, _DIGIT):
        places = np.zeros(1 << _DIGIT, np.int64)
        for i in range(count):
            places[source[i] >> np.uint64(shift) & mask] += 1
        total = 0
        for digit in range(1 << _DIGIT):
            total, places[digit] = total + places[digit], total
        for i in range(count):
            digit = source[i] >> np.uint64(shift) & mask
            target[places[digit]] = source[i]
            places[digit] += 1
        source, target = target, source
    ranked = np.empty(count, np.int64)
    for i in range(count):
        ranked[i] = source[i] & np.uint64(0xFFFFFFFF)
    return ranked


@compiled
def _kruskal(ranked, height, width):
    """Bits (V,) of the directions of a pixel's edges in the tree: 1 right, 2 down, 4 left, 8 up."""
    pixels = height * width
    horizontal = height * (width - 1)
    component = np.arange(pixels, dtype=np.int32)
    is_open = np.zeros(pixels, np.uint8)
    missing = pixels - 1
    for edge in ranked:
        if missing == 0:
            break
        if edge < horizontal:
            first = edge + edge // (width - 1)
            second = first + 1
        else:
            first = edge - horizontal
            second = first + width
        a, b = first, second
        while component[a] != a:
            component[a] = component[component[a]]
            a = component[a]
        while component[b] != b:
            component[b] = component[component[b]]
            b = component[b]
        if a == b:
            continue
        component[max(a, b)] = min(a, b)
        is_open[first] |= 1 if edge < horizontal else 2
        is_open[second] |= 4 if edge < horizontal else 8
        missing -= 1
    return is_open


@compiled
def _root(is_open, width, parent, order):
    """Fill in parents and order, return the height; the walk takes the next open direction."""
    moves = (1, width, -1, -width)
    pixel, back = 0, 3
    parent[0] = order[0] = 0
    found = 1
    depth = height = 0
    while found < len(order):
        direction = (back + 1) & 3
        while not (is_open[pixel] >> direction) & 1:
            direction = (direction + 1) & 3
        target = pixel + moves[direction]
        if pixel != 0 and parent[pixel] == target:
            depth -= 1
        else:
            parent[target] = pixel
            order[found] = target
            found += 1
            depth += 1
            height = max(height, depth)
        pixel, back = target, direction ^ 2
    return height


@compiled
def _rows(maps, rows):
    """Transpose (K, V) to (V, K), by tiles."""
    channels, pixels = maps.shape
    for start in range(0, pixels, _TILE):
        stop = min(start + _TILE, pixels)
        for k in range(channels):
            for i in range(start, stop):
                rows[i, k] = maps[k, i]


@compiled
def _maps(rows, divisor, maps):
    """Transpose (V, K) to (K, V), by tiles, and divide each row by its divisor."""
    channels, pixels = maps.shape
    for start in range(0, pixels, _TILE):
        stop = min(start + _TILE, pixels)
        for k in range(channels):
            for i in range(start, stop):
                maps[k, i] = rows[i, k] / divisor[i]


@compiled
def _gather_up(rows, weight, parent, order):
    """L^-T: add to each row the weighted rows of its descendants."""
    for t in range(len(order) - 1, 0, -1):
        i = order[t]
        into, own, w = rows[parent[i]], rows[i], weight[i]
        for k in range(rows.shape[1]):
            into[k] += w * own[k]


@compiled
def _spread_down(rows, weight, parent, order):
    """L^-1 (1 - w^2): from sums over descendants to sums over all pixels."""
    for t in range(1, len(order)):
        i = order[t]
        above, own, w = rows[parent[i]], rows[i], weight[i]
        rest = 1 - w * w
        for k in range(rows.shape[1]):
            own[k] = rest * own[k] + w * above[k]


@compiled
def _forward(x, weight, parent, order, result, norm):
    rows = np.empty((x.shape[1], x.shape[0]))
    weight = weight.astype(np.float64)
    _rows(x, rows)
    _gather_up(rows, weight, parent, order)
    _spread_down(rows, weight, parent, order)
    column = norm.reshape(-1, 1)
    column[:] = 1
    _gather_up(column, weight, parent, order)
    _spread_down(column, weight, parent, order)
    _maps(rows, norm, result)


@compiled
def _slopes(grad, norm, rows):
    channels, pixels = grad.shape
    for start in range(0, pixels, _TILE):
        stop = min(start + _TILE, pixels)
        for k in range(channels):
            for i in range(start, stop):
                rows[i, k] = grad[k, i] / norm[i]


@compiled
def _backward_x(grad, weight, parent, order, norm, grad_x):
    rows = np.empty((grad.shape[1], grad.shape[0]))
    weight = weight.astype(np.float64)
    _slopes(grad, norm, rows)
    _gather_up(rows, weight, parent, order)
    _spread_down(rows, weight, parent, order)
    _maps(rows, np.ones_like(norm), grad_x)


@compiled
def _spread_both(rows, slopes, weight, parent, order, grad_weight):
    """Spread values and slopes down; add each weight's slope before its sums are overwritten."""
    for t in range(1, len(order)):
        i = order[t]
        w = weight[i]
        rest = 1 - w * w
        above, own = rows[parent[i]], rows[i]
        slope_above, slope = slopes[parent[i]], slopes[i]
        total = 0.0
        for k in range(rows.shape[1]):
            a, b = own[k], slope[k]
            total += b * (above[k] - w * a) + a * (slope_above[k] - w * b)
            own[k] = rest * a + w * above[k]
            slope[k] = rest * b + w * slope_above[k]
        grad_weight[i] += total


@compiled
def _backward(grad, x, weight, parent, order, result, norm, grad_x, grad_weight):
    channels, pixels = x.shape
    rows, slopes = np.empty((pixels, channels)), np.empty((pixels, channels))
    _rows(x, rows)
    _slopes(grad, norm, slopes)
    ones, by_norm = np.ones((pixels, 1)), np.zeros((pixels, 1))
    for k in range(channels):
        for i in range(pixels):
            by_norm[i, 0] -= np.float64(grad[k, i]) / norm[i] * result[k, i]
    weight = weight.astype(np.float64)
    total = np.zeros(pixels)
    for values, by_value in ((rows, slopes), (ones, by_norm)):
        _gather_up(values, weight, parent, order)
        _gather_up(by_value, weight, parent, order)
        _spread_both(values, by_value, weight, parent, order, total)
    grad_weight[:] = total
    _maps(slopes, np.ones_like(norm), grad_x)
