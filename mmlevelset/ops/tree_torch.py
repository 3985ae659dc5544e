"""Spanning trees and tree filters in plain PyTorch: logarithmically many steps over all pixels.

Results do not depend on the order in which a GPU runs its threads: concurrent additions and
comparisons are of integers, and no two threads write to the same place. Sums are held in float64 or
in 64-bit fixed point.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

_DIRECTIONS = 4  # right, down, left, up; the opposite of d is d ^ 2


def spanning_tree(weights: Tensor, height: int, width: int) -> tuple[Tensor, Tensor, Tensor]:
    """Parents (B, V), depth-first order (B, V) and heights (B,) from edge weights (B, E)."""
    chosen = _boruvka(weights, height, width)
    return _rooted(_open_directions(chosen, height, width), width)


def _boruvka(weights: Tensor, height: int, width: int) -> Tensor:
    """Mask (B, E) of the tree's edges: each component takes its least edge, until one is left.

    Pixels are numbered across all images. The host waits once per round. There are at most log2(V)
    rounds, about eight for photographs.
    """
    batch, edges = weights.shape
    pixels = height * width
    device = weights.device
    ranked = weights.sort(stable=True).indices
    ranks = torch.empty_like(ranked).scatter_(
        1, ranked, torch.arange(edges, device=device).expand(batch, -1)
    )
    first, second = (
        (ends + pixels * torch.arange(batch, device=device)[:, None]).flatten()
        for ends in _edge_ends(height, width, device)
    )
    offset = edges * torch.arange(batch, device=device)[:, None]
    ranks = (ranks + offset).flatten()
    by_rank = (ranked + offset).flatten()
    none = batch * edges
    own = torch.arange(batch * pixels, device=device)
    component = own
    chosen = torch.zeros(batch * edges, dtype=torch.bool, device=device)
    jumps = pixels.bit_length()
    while True:
        here, there = component[first], component[second]
        crossing = here != there
        if not crossing.any():
            return chosen.view(batch, edges)
        candidates = torch.where(crossing, ranks, none)
        least = torch.full_like(own, none)
        least.scatter_reduce_(0, here, candidates, "amin")
        least.scatter_reduce_(0, there, candidates, "amin")
        chosen |= crossing & ((least[here] == ranks) | (least[there] == ranks))
        edge = by_rank[least.clamp(max=none - 1)]
        partner = torch.where(here[edge] == own, there[edge], here[edge])
        partner = torch.where(least < none, partner, own)
        # Two components that chose the same edge point at each other; one becomes the root.
        partner = torch.where((partner[partner] == own) & (own < partner), own, partner)
        for _ in range(jumps):
            partner = partner[partner]
        component = partner[component]
        jumps -= 1  # at most half of the components are left


def _edge_ends(height: int, width: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """First (left or upper) and second (right or lower) pixel (E,) of each edge."""
    pixel = torch.arange(height * width, device=device).view(height, width)
    first = torch.cat((pixel[:, :-1].flatten(), pixel[:-1].flatten()))
    second = torch.cat((pixel[:, 1:].flatten(), pixel[1:].flatten()))
    return first, second


def _open_directions(chosen: Tensor, height: int, width: int) -> Tensor:
    """Mask (B, V, 4) of the directions in which a pixel has an edge of the tree."""
    horizontal = height * (width - 1)
    is_open = chosen.new_zeros(len(chosen), height, width, _DIRECTIONS)
    right = chosen[:, :horizontal].view(len(chosen), height, width - 1)
    down = chosen[:, horizontal:].view(len(chosen), height - 1, width)
    is_open[:, :, :-1, 0] = right
    is_open[:, :, 1:, 2] = right
    is_open[:, :-1, :, 1] = down
    is_open[:, 1:, :, 3] = down
    return is_open.flatten(1, 2)


def _rooted(is_open: Tensor, width: int) -> tuple[Tensor, Tensor, Tensor]:
    """Parents, depth-first order and heights, from a tour along both sides of all edges.

    The tour leaves a pixel in the next open direction. Pointer doubling finds the place of each
    step in the tour. The first of an edge's two steps leads away from the root.
    """
    batch, pixels, _ = is_open.shape
    device = is_open.device
    direction = torch.arange(_DIRECTIONS, device=device)
    moves = torch.tensor([1, width, -1, -width], device=device)
    target = torch.arange(pixels, device=device)[:, None] + moves
    back = torch.where(is_open, target * _DIRECTIONS + (direction ^ 2), 0).flatten(1)
    leaving = torch.zeros_like(is_open, dtype=torch.int64)  # indexed by the way back
    for turn in range(_DIRECTIONS, 0, -1):
        towards = (direction + turn) % _DIRECTIONS
        leaving = torch.where(is_open[..., towards], towards, leaving)
    leaving = (torch.arange(pixels, device=device)[:, None] * _DIRECTIONS + leaving).flatten(1)
    step = torch.arange(pixels * _DIRECTIONS, device=device).expand(batch, -1)
    start = leaving[:, _DIRECTIONS - 1, None]
    following = leaving.gather(1, back)
    # The last step of the tour, and entries that are no step, are followed by themselves.
    following = torch.where(is_open.flatten(1) & (following != start), following, step)
    left = (following != step).long()  # number of steps up to the end of the tour
    for _ in range((2 * pixels).bit_length()):
        left += left.gather(1, following)
        following = following.gather(1, following)
    outward = is_open.flatten(1) & (left > left.gather(1, back))
    inward = is_open.flatten(1) & ~outward
    parent = torch.where(inward.view_as(is_open), target, 0).sum(2)
    last = 2 * pixels - 2  # number of steps, and the place of entries that are no step
    place = torch.where(is_open.flatten(1), last - 1 - left, last)
    rise = left.new_zeros(batch, last + 1).scatter_(1, place, outward.long() - inward.long())
    heights = rise.cumsum(1).amax(1)
    found = (rise > 0).long().cumsum(1)  # number of pixels reached, without the root
    position = torch.where(outward, found.gather(1, place), pixels)
    order = left.new_zeros(batch, pixels + 1)
    order.scatter_(1, position, torch.where(outward, target.flatten(), 0))
    return parent, order[:, :-1].contiguous(), heights


def forward(
    x: Tensor, weight: Tensor, parent: Tensor, order: Tensor, height: Tensor
) -> tuple[Tensor, Tensor]:
    """S x / S 1 (B, K, V), and S 1 (B, V) in float64."""
    weight = _without_root(weight.double())
    jumps = list(_jumps(weight, parent, height))
    norm = _product(torch.ones_like(weight)[:, None], weight, jumps)[1]
    result = _product(x.contiguous(), weight, jumps)[1] / norm
    return result.to(x.dtype), norm.squeeze(1)


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
    dtype, weight = weight.dtype, _without_root(weight.double())
    jumps = list(_jumps(weight, parent, height))
    slope = grad.contiguous() / norm[:, None]
    slope_sums, grad_x = _product(slope, weight, jumps)
    if not needs_weight:
        return grad_x.to(dtype), x.new_empty(0, 0)
    ones = torch.ones_like(weight)[:, None]
    by_norm = -(slope * result).sum(1, keepdim=True)
    total = torch.zeros_like(weight)
    for values, slopes in ((x, (slope_sums, grad_x)), (ones, _product(by_norm, weight, jumps))):
        sums, product = _product(values, weight, jumps)
        for (near, _), (other_near, far) in (((sums, product), slopes), (slopes, (sums, product))):
            total += (near * (_from(parent, far) - weight[:, None] * other_near)).sum(1)
    return grad_x.to(dtype), _without_root(total).to(dtype)


def _without_root(values: Tensor) -> Tensor:
    values = values.clone(memory_format=torch.contiguous_format)
    values[:, 0] = 0
    return values


def _jumps(weight: Tensor, parent: Tensor, height: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield weights to the ancestors 1, 2, 4, ... edges away (0 past the root) and the ancestors.

    The host waits once, for the greatest height.
    """
    rounds = int(height.max()).bit_length() if len(height) else 0
    for _ in range(rounds):
        yield weight, parent
        weight = weight * weight.gather(1, parent)
        parent = parent.gather(1, parent)


def _from(ancestor: Tensor, values: Tensor) -> Tensor:
    return values.gather(2, ancestor[:, None].expand(values.shape))


def _product(
    values: Tensor, weight: Tensor, jumps: list[tuple[Tensor, Tensor]]
) -> tuple[Tensor, Tensor]:
    """L^-T v and S v: weighted sums over each pixel's descendants, and over all pixels.

    S = L^-1 (1 - w^2) L^-T and L^-1 = (1 + N) (1 + N^2) (1 + N^4) ..., where N gives each pixel its
    parent's value times the weight.
    """
    sums = _descendants(values, jumps)
    product = sums * (1 - weight.square())[:, None]
    for to_ancestor, ancestor in jumps:
        product = product + to_ancestor[:, None] * _from(ancestor, product)
    return sums, product


def _descendants(values: Tensor, jumps: list[tuple[Tensor, Tensor]]) -> Tensor:
    """L^-T v in float64, summed in 64-bit fixed point: the order of a sum does not matter."""
    largest = values.abs().amax(2, keepdim=True).double()
    exponent = largest.clamp(min=1e-200).frexp().exponent + values.shape[2].bit_length() - 61
    resolution = torch.exp2(exponent.double())
    # Integers hold no NaN or infinity; the sums of a map with such a value become NaN.
    resolution = torch.where(largest.isfinite(), resolution, torch.nan)
    fixed = (values / resolution).nan_to_num(0, 0, 0).round().long()
    for to_ancestor, ancestor in jumps:
        share = (fixed * to_ancestor[:, None]).round_().long()
        fixed.scatter_add_(2, ancestor[:, None].expand(fixed.shape), share)
    return fixed * resolution
