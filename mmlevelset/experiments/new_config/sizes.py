"""Settings of a network from the sizes of images and boxes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

ROI_LEVELS = 4
ANCHOR_SCALES = (2, 3, 4, 6, 8, 12, 16)
SOLO_RANGES = ((1, 96), (48, 192), (96, 384), (192, 768), (384, 2048))
SOLO_FACTORS = (0.25, 0.5, 0.75, 1.0, 1.5, 2.0)
SOLO_GRIDS = (28, 24, 16, 12, 8)
"""Cells of an image whose longer side has 448 pixels."""


@dataclass(frozen=True)
class Anchors:
    """Anchors of an RPN.

    Attributes:
        strides: The strides of its levels.
        scale: Side of a square anchor, in strides of its level.
        ratios: Height over width.
        covered: Share of the boxes that have an IoU of 0.5 with an anchor at their centre.
        shares: Share of the boxes whose best anchor lies on each level.
        finest_scale: ``finest_scale`` of the RoI extractors.
        roi_shares: Share of the boxes that RoIAlign reads from each level.
    """

    strides: tuple[int, ...]
    scale: int
    ratios: tuple[float, ...]
    covered: float
    shares: tuple[float, ...]
    finest_scale: int
    roi_shares: tuple[float, ...]


@dataclass(frozen=True)
class Grids:
    """Levels of SOLOv2: ranges of sizes in pixels, cells, and the share of boxes of each level."""

    ranges: tuple[tuple[int, int], ...]
    grids: tuple[int, ...]
    shares: tuple[float, ...]


def image_scale(sizes: np.ndarray, area: int) -> tuple[int, int]:
    """Return the longer and the shorter side that bound a resized image.

    The median image has about ``area`` pixels, but is not enlarged.

    Args:
        sizes: Width and height of each image (N, 2) in pixels.
        area: Pixels.
    """
    longer, shorter = np.sort(sizes, axis=1)[:, ::-1].T.astype(float)
    ratio = float(np.median(shorter / longer))
    median = float(np.median(longer))
    side = min(median, math.sqrt(area / ratio))
    return _rounded(side), _rounded(side * ratio)


def _rounded(side: float) -> int:
    return max(32, 32 * round(side / 32))


def resize_factors(sizes: np.ndarray, scale: tuple[int, int]) -> np.ndarray:
    """Return the factor (N,) by which each image is resized."""
    longer, shorter = np.sort(sizes, axis=1)[:, ::-1].T
    return np.minimum(scale[0] / longer, scale[1] / shorter)


def choose_anchors(boxes: np.ndarray, strides: tuple[int, ...]) -> Anchors:
    """Choose the scale and the ratios of anchors whose mean IoU with the boxes is the highest.

    Args:
        boxes: Width and height (N, 2) in pixels of the resized image, N >= 1.
        strides: The strides of the RPN's levels.
    """
    ratios = np.quantile(boxes[:, 1] / boxes[:, 0], (0.1, 0.5, 0.9))
    own = tuple(sorted({_nice(float(ratio)) for ratio in ratios}))
    best: tuple[float, int, tuple[float, ...], np.ndarray] | None = None
    # The usual ratios, and mmdet's usual scale, win a draw.
    for shape, scale in product(
        ((0.5, 1.0, 2.0), own), sorted(ANCHOR_SCALES, key=lambda s: s != 8)
    ):
        iou = _shape_iou(boxes, _anchors(scale, shape, strides))
        quality = float(iou.max(1).mean())
        if best is None or quality > best[0] + 0.01:
            best = quality, scale, shape, iou
    assert best is not None
    _, scale, shape, iou = best
    covered = float((iou.max(1) >= 0.5).mean())
    levels = iou.argmax(1) // len(shape)
    size = np.sqrt(boxes.prod(1))
    finest = min((112, 56, 28), key=lambda s: abs(math.log2(np.median(size) / (1.5 * s))))
    roi_levels = np.floor(np.log2(size / finest + 1e-6)).clip(0, ROI_LEVELS - 1)
    return Anchors(
        strides,
        scale,
        shape,
        covered,
        _shares(levels, len(strides)),
        finest,
        _shares(roi_levels, ROI_LEVELS),
    )


def _nice(ratio: float) -> float:
    """Return the nearest of 0.25, 0.33, 0.5, 0.75, 1, 1.5, 2, 3 and 4."""
    known = (0.25, 0.33, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0)
    return min(known, key=lambda value: abs(math.log(value / ratio)))


def _anchors(scale: int, ratios: Sequence[float], strides: Sequence[int]) -> np.ndarray:
    sides = [
        (scale * stride / math.sqrt(ratio), scale * stride * math.sqrt(ratio))
        for stride in strides
        for ratio in ratios
    ]
    return np.array(sides)


def _shape_iou(boxes: np.ndarray, anchors: np.ndarray) -> np.ndarray:
    """Return the IoU (N, A) of boxes and anchors with the same centres."""
    shared = np.minimum(boxes[:, None], anchors).prod(2)
    return shared / (boxes.prod(1)[:, None] + anchors.prod(1) - shared)


def _shares(levels: np.ndarray, count: int) -> tuple[float, ...]:
    return tuple(float((levels == level).mean()) for level in range(count))


def choose_grids(boxes: np.ndarray, scale: tuple[int, int]) -> Grids:
    """Choose the ranges of sizes and the grids of SOLOv2.

    Three quarters of the boxes or more lie in the first two levels, whose masks are the finest, and
    the ranges are as small as that allows.

    Args:
        boxes: Width and height (N, 2) in pixels of the resized image, N >= 1.
        scale: The longer and the shorter side of a resized image.
    """
    size = np.sqrt(boxes.prod(1))
    factor = next(
        (f for f in SOLO_FACTORS if (size <= f * SOLO_RANGES[1][1]).mean() >= 0.75),
        SOLO_FACTORS[-1],
    )
    last = len(SOLO_RANGES) - 1
    ranges = tuple(
        (
            1 if level == 0 else round(low * factor),
            max(2048, round(high * factor)) if level == last else round(high * factor),
        )
        for level, (low, high) in enumerate(SOLO_RANGES)
    )
    grow = min(1.45, max(0.45, scale[0] / 448))
    grids = tuple(max(4, 2 * round(cells * grow / 2)) for cells in SOLO_GRIDS)
    shares = tuple(float(((size >= low) & (size <= high)).mean()) for low, high in ranges)
    return Grids(ranges, grids, shares)
