"""SOLO's assignment and BoxLevelSet's losses in loops, one cell and one mask at a time, float64."""

import math
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
        side = 1.0 / grid
        for number, box in enumerate(boxes):
            x1, y1, x2, y2 = (float(edge) for edge in box)
            if not low <= math.sqrt((x2 - x1) * (y2 - y1)) <= high:
                continue
            if inclusive:
                rows, columns = box_array(box, size).nonzero()
                covered = len(rows)
                if covered:
                    y, x = rows.mean(), columns.mean()
            else:
                covered = (x2 - x1) * (y2 - y1)
                x, y = (x1 + x2) / 2 - 0.5, (y1 + y2) / 2 - 0.5
            if covered < 10:
                continue
            half_width, half_height = (x2 - x1) / 2 * pos_scale, (y2 - y1) / 2 * pos_scale
            row, column = int(y / height // side), int(x / width // side)
            top = max(0, int((y - half_height) / height // side), row - 1)
            bottom = min(grid - 1, int((y + half_height) / height // side), row + 1)
            left = max(0, int((x - half_width) / width // side), column - 1)
            right = min(grid - 1, int((x + half_width) / width // side), column + 1)
            for i in range(top, bottom + 1):
                for j in range(left, right + 1):
                    owner[level, i, j] = number
    return owner


def similarity(guide: Tensor, sigma: float = 1.0) -> Tensor:
    """Dense exp(-d / sigma) (V, V) along the paths of the minimum spanning tree of (C, H, W)."""
    linked = neighbours(guide.detach())
    edges = sorted((a, b) for a in linked for b in linked[a] if a < b)
    number = {edge: index for index, edge in enumerate(edges)}
    paths = np.zeros((len(linked), len(linked), len(edges)))
    for start in linked:
        waiting, seen = [start], {start}
        while waiting:
            here = waiting.pop()
            for there in linked[here] - seen:
                paths[start, there] = paths[start, here]
                paths[start, there, number[min(here, there), max(here, there)]] = 1
                seen.add(there)
                waiting.append(there)
    flat = guide.flatten(1)
    first, second = torch.tensor(edges, dtype=torch.long).reshape(-1, 2).T
    lengths = (flat[:, first] - flat[:, second]).square().sum(0)
    return torch.exp(-(torch.from_numpy(paths) @ lengths) / sigma)


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
