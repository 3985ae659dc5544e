"""SOLO's assignment and BoxLevelSet's losses in loops, one cell and one mask at a time, float64."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from tests.ops import naive as core
from tests.ops.test_tree import neighbours


def box_array(box: Sequence[float], size: Sequence[int]) -> np.ndarray:
    """The mask of a rounded box, its last row and column included."""
    mask = np.zeros(size, dtype=np.uint8)
    x1, y1, x2, y2 = (round(float(edge)) for edge in box)
    mask[y1 : y2 + 1, x1 : x2 + 1] = 1
    return mask


def axis_cells(centre, half, size: int, grid: int):
    """First and last positive cell along an axis, in the released code's mix of precisions.

    Args:
        centre: Centre of mass in pixels, float64: a number or an array.
        half: Half of the shrunk box in pixels, float32: in the released code a tensor. The bounds
            are float32 too, as is the side of a cell that divides them.
        size: Pixels along the axis.
        grid: Cells along the axis.
    """
    assert centre.dtype == np.float64 and half.dtype == np.float32
    side = 1.0 / grid
    middle = np.floor_divide(centre / size, side)
    centre = centre.astype(np.float32)
    low = np.floor_divide((centre - half) / np.float32(size), np.float32(side))
    high = np.floor_divide((centre + half) / np.float32(size), np.float32(side))
    assert low.dtype == high.dtype == np.float32
    first = np.maximum(np.maximum(low, 0), middle - 1)
    last = np.minimum(np.minimum(high, grid - 1), middle + 1)
    return first.astype(int), last.astype(int)


def solo_cells(
    boxes: Sequence[Sequence[float]],
    inclusive: bool,
    size: Sequence[int],
    num_grids: Sequence[int],
    scale_ranges: Sequence[tuple[float, float]],
    pos_scale: float,
) -> dict[tuple[int, int, int], int]:
    """Box of each positive (level, row, column) of one image; later boxes overwrite."""
    height, width = size
    owner = {}
    for level, (grid, (low, high)) in enumerate(zip(num_grids, scale_ranges, strict=True)):
        for number, box in enumerate(boxes):
            x1, y1, x2, y2 = (np.float32(edge) for edge in box)
            if not low <= np.sqrt((x2 - x1) * (y2 - y1)) <= high:
                continue
            if inclusive:
                rows, columns = box_array(box, size).nonzero()
                covered = len(rows)
                if covered:
                    y, x = rows.mean(), columns.mean()
            else:
                x1, y1, x2, y2 = (np.float64(edge) for edge in (x1, y1, x2, y2))
                covered = (x2 - x1) * (y2 - y1)
                x, y = (x1 + x2) / 2 - 0.5, (y1 + y2) / 2 - 0.5
            if covered < 10:
                continue
            x1, y1, x2, y2 = (np.float32(edge) for edge in box)
            half_width, half_height = 0.5 * (x2 - x1) * pos_scale, 0.5 * (y2 - y1) * pos_scale
            top, bottom = axis_cells(y, half_height, height, grid)
            left, right = axis_cells(x, half_width, width, grid)
            for i in range(top, bottom + 1):
                for j in range(left, right + 1):
                    owner[level, i, j] = number
    return owner


def similarity(guide: Tensor, sigma: float = 1.0) -> Tensor:
    """Dense exp(-d / sigma) (V, V) along the paths of the minimum spanning tree of (C, H, W)."""
    linked = neighbours(guide.detach())
    edges = sorted((a, b) for a in linked for b in linked[a] if a < b)
    number = {edge: index for index, edge in enumerate(edges)}
    to_root = np.zeros((len(linked), len(edges)))
    waiting, seen = [0], {0}
    while waiting:
        here = waiting.pop()
        for there in linked[here] - seen:
            to_root[there] = to_root[here]
            to_root[there, number[min(here, there), max(here, there)]] = 1
            seen.add(there)
            waiting.append(there)
    flat = guide.flatten(1)
    first, second = torch.tensor(edges, dtype=torch.long).reshape(-1, 2).T
    lengths = (flat[:, first] - flat[:, second]).square().sum(0)
    # A path has the edges that are on the way of one of its ends to the root, not of both.
    paths = torch.from_numpy(to_root)
    height = paths @ lengths
    shared = (paths * lengths) @ paths.T
    return torch.exp(-(height[:, None] + height - 2 * shared) / sigma)


def filtered(maps: Tensor, weights: Tensor) -> Tensor:
    """(C, H, W) averaged with the dense weights."""
    sums = maps.flatten(1) @ weights.T
    return (sums / weights.sum(1)).view_as(maps)


def length_in(score: Tensor, domain: Tensor) -> Tensor:
    """Total variation over the pairs of neighbours that both lie in the domain."""
    total = torch.zeros((), dtype=score.dtype)
    for i in range(score.shape[0]):
        for j in range(score.shape[1]):
            for k, m in ((i - 1, j), (i, j - 1)):
                if k >= 0 and m >= 0 and domain[i, j] and domain[k, m]:
                    total = total + (score[i, j] - score[k, m]).abs()
    return total


def projection(score: Tensor, box: Tensor) -> Tensor:
    total = 0
    for axis in (0, 1):
        p, q = score.max(axis).values, box.max(axis).values
        total = total + 1 - 2 * (p * q).sum() / ((p * p).sum() + (q * q).sum() + 1e-5)
    return total


def consistency(
    scores: Tensor,
    boxes: Tensor,
    image: Tensor,
    iterations: int = 10,
    dilation: int = 2,
    alpha: float = 0.3,
) -> Tensor:
    """Box2Mask's local consistency (K,), pixel by pixel: sums over the boxes, without a weight."""
    height, width = image.shape[1:]
    around = {}
    for i in range(height):
        for j in range(width):
            rows, columns = (
                [min(max(here + step * dilation, 0), count - 1) for step in (-1, 0, 1)]
                for here, count in ((i, height), (j, width))
            )
            pairs = [(rows[a], columns[b]) for a in range(3) for b in range(3) if (a, b) != (1, 1)]
            colours = torch.stack([image[:, k, m] for k, m in pairs])
            spread = (((colours - colours.mean(0)) ** 2).sum(0) / 7).sqrt() + 1e-8
            apart = (((colours - image[:, i, j]).abs() / spread / alpha) ** 2).mean(1)
            powers = torch.exp(apart.min() - apart)
            around[i, j] = list(zip(pairs, powers / powers.sum(), strict=True))
    totals = []
    for score, box in zip(scores, boxes, strict=True):
        average = score
        for _ in range(iterations):
            average = torch.stack(
                [
                    torch.stack(
                        [
                            sum(weight * average[pair] for pair, weight in around[i, j])
                            for j in range(width)
                        ]
                    )
                    for i in range(height)
                ]
            )
        totals.append((box * (average - score).abs()).sum())
    return torch.stack(totals)


def level_set(
    score: Tensor,
    domain: Tensor,
    image: Tensor,
    deep: Tensor | None,
    image_weights: Tensor,
    deep_weights: Tensor | None,
    *,
    mode: str = "released",
    image_weight: float = 0.05,
    feature_weight: float = 5.0,
    length_weight: float = 0.0,
    second_filter: bool = True,
    tree_filter: bool = True,
    detach_features: bool | None = None,
    standardize_features: bool = True,
) -> Tensor:
    """One mask's loss; the dense weights of the two trees are given."""
    if not feature_weight:
        deep = torch.zeros_like(image)
        second_filter = False
    if mode == "released":
        length = core.length(score * domain) + core.length((1 - score) * domain)
        mask = score.detach() if detach_features else score
        features = filtered(mask[None], image_weights)
        if second_filter:
            features = torch.cat((features, filtered(features, deep_weights)))
    else:
        length = length_in(score, domain)
        features = filtered(deep, image_weights) if tree_filter else deep
        if standardize_features:
            centred = features - features.mean((1, 2), keepdim=True)
            features = centred / (centred.square().mean((1, 2), keepdim=True).sqrt() + 1e-6)
        if detach_features or detach_features is None:
            features = features.detach()
    length = length_weight * length
    on_image = core.energy(image, score, domain) / len(image) + length
    on_features = core.energy(features, score, domain) / len(features) + length
    return (image_weight * on_image + feature_weight * on_features) / domain.sum()


def pairwise(
    scores: Tensor, boxes: Tensor, lab: Tensor, size: int = 3, dilation: int = 2, least: float = 0.3
) -> tuple[Tensor, Tensor]:
    """BoxInst's pairwise loss, edge by edge: sums over the edges (K,), and their numbers (K,).

    The scores (K, H, W) are probabilities; ``lab`` (3, h, w) is the image without padding.
    """
    height, width = lab.shape[1:]
    steps = [dilation * step for step in range(-(size // 2), size // 2 + 1)]
    losses, edges = [], []
    for score, box in zip(scores, boxes, strict=True):
        total, count = torch.zeros((), dtype=scores.dtype), 0
        for i in range(height):
            for j in range(width):
                for k, m in ((i + down, j + right) for down in steps for right in steps):
                    if (k, m) == (i, j) or not (0 <= k < height and 0 <= m < width):
                        continue
                    apart = (lab[:, i, j] - lab[:, k, m]).square().sum().sqrt()
                    if not box[i, j] or torch.exp(-apart / 2) < least:
                        continue
                    p, q = score[i, j], score[k, m]
                    total = total - torch.log(p * q + (1 - p) * (1 - q))
                    count += 1
        losses.append(total)
        edges.append(count)
    return torch.stack(losses), torch.tensor(edges)
