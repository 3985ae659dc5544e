"""Boundary F1 and boundary IoU: the agreement of two masks' outlines."""

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import cast

import cv2
import numpy as np
from pycocotools import mask as mask_util

from mmlevelset.annotations.masks import run_lengths

_MARGIN = 2


def boundary_map(mask: np.ndarray) -> np.ndarray:
    """Mark the boundary pixels of masks, one pixel wide, as the DAVIS benchmark does.

    A boundary pixel differs from its neighbour to the right, below, or diagonally below to the
    right. The image's own edge is no boundary.

    Args:
        mask: (..., H, W), bool or uint8 with values 0 and 1.

    Returns:
        (..., H, W) uint8 with values 0 and 1.

    Reference:
        Perazzi et al., A Benchmark Dataset and Evaluation Methodology for Video Object
        Segmentation, CVPR 2016.
    """
    mask = mask.astype(np.uint8, copy=False)
    edge = np.zeros_like(mask)
    edge[..., :, :-1] = mask[..., :, :-1] ^ mask[..., :, 1:]
    edge[..., :-1, :] |= mask[..., :-1, :] ^ mask[..., 1:, :]
    edge[..., :-1, :-1] |= mask[..., :-1, :-1] ^ mask[..., 1:, 1:]
    return edge


def boundary_f1(
    pred: np.ndarray, target: np.ndarray, tolerances: Sequence[float] = (1, 2)
) -> np.ndarray:
    """Return the F1 between the boundary pixels of two masks.

    Precision is the share of predicted boundary pixels within the tolerance of a true boundary
    pixel. Recall is the same with the two masks exchanged. Distances are Euclidean, between pixel
    centres. F1 is 1 if neither mask has a boundary, and 0 if only one mask has a boundary.

    Args:
        pred, target: (H, W), bool or uint8 with values 0 and 1.
        tolerances: distances in pixels, each >= 0.

    Returns:
        (len(tolerances),) float64 in [0, 1].

    Raises:
        ValueError: the masks are not 2-D or differ in shape.
    """
    if pred.ndim != 2 or pred.shape != target.shape:
        raise ValueError(
            "pred and target must be two masks (H, W) of the same size, "
            f"got shapes {pred.shape} and {target.shape}"
        )
    return _pair_f1(np.stack([pred, target]).astype(np.uint8, copy=False), tolerances)


def rle_boundary_f1(pred: dict, target: dict, tolerances: Sequence[float] = (1, 2)) -> np.ndarray:
    """Return :func:`boundary_f1` of two COCO run-length encoded masks.

    Only the box around both masks is decoded.

    Args:
        pred, target: ``dict(size=[H, W], counts=...)``, compressed RLE.
        tolerances: distances in pixels, each >= 0.

    Returns:
        (len(tolerances),) float64 in [0, 1].

    Raises:
        ValueError: the masks differ in size.
    """
    return _pair_f1(_decoded_pair(pred, target), tolerances)


def rle_boundary_iou(pred: dict, target: dict, dilation_ratio: float = 0.02) -> float:
    """Return the IoU of the inner boundary regions of two COCO run-length encoded masks.

    The boundary region of a mask is the mask's pixels within d pixels (chessboard distance) of the
    outside. d is ``dilation_ratio`` times the image's diagonal, rounded and at least 1. Beyond the
    image everything is outside. The IoU is 0 if both regions are empty.

    Args:
        pred, target: ``dict(size=[H, W], counts=...)``, compressed RLE.
        dilation_ratio: > 0.

    Returns:
        The IoU in [0, 1].

    Raises:
        ValueError: the masks differ in size.

    Reference:
        Cheng et al., Boundary IoU: Improving Object-Centric Image Segmentation Evaluation,
        CVPR 2021.
    """
    pair = _decoded_pair(pred, target)
    distance = max(1, round(dilation_ratio * math.hypot(*pred["size"])))
    square = np.ones((2 * distance + 1,) * 2, np.uint8)
    first, second = (
        mask - cv2.erode(mask, square, borderType=cv2.BORDER_CONSTANT, borderValue=0)
        for mask in pair
    )
    union = np.count_nonzero(first | second)
    return np.count_nonzero(first & second) / union if union else 0.0


def _decoded_pair(pred: dict, target: dict) -> np.ndarray:
    """Decode both masks inside their common box and a margin: (2, w, h), uint8.

    The masks stay transposed: RLE stores columns, so they are contiguous this way. Boundary F1 and
    boundary IoU are the same for transposed masks.
    """
    if list(pred["size"]) != list(target["size"]):
        raise ValueError(
            f"pred and target must have the same size [H, W], got {pred['size']} and "
            f"{target['size']}"
        )
    boxes = mask_util.toBbox([pred, target])
    boxes = boxes[boxes[:, 2] > 0]
    if not len(boxes):
        return np.zeros((2, 1, 1), np.uint8)
    height, width = pred["size"]
    low = (boxes[:, :2].min(0) - _MARGIN).clip(0).astype(int)
    high = ((boxes[:, :2] + boxes[:, 2:]).max(0) + _MARGIN).clip(max=(width, height)).astype(int)
    return np.stack([_decoded_crop(rle, low, high) for rle in (pred, target)])


def _decoded_crop(rle: dict, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Decode the part of a mask between the corners ``low`` and ``high`` (x, y), transposed.

    Only the columns of this part are decoded. pycocotools decodes the whole image, which takes
    most of its time for pixels outside the part.
    """
    height = rle["size"][0]
    first, last = low[0] * height, high[0] * height
    runs = cast("np.ndarray", run_lengths(rle["counts"]))
    lengths = np.diff(runs.cumsum().clip(first, last), prepend=first)
    values = (np.arange(len(lengths)) & 1).astype(np.uint8)
    return np.repeat(values, lengths).reshape(-1, height)[:, low[1] : high[1]]


def _pair_f1(pair: np.ndarray, tolerances: Sequence[float]) -> np.ndarray:
    edges = boundary_map(pair)
    count_pred, count_target = np.count_nonzero(edges[0]), np.count_nonzero(edges[1])
    if not count_pred or not count_target:
        return np.full(len(tolerances), float(count_pred == count_target))
    scores = np.empty(len(tolerances))
    for index, tolerance in enumerate(tolerances):
        disk = _disk(tolerance)
        precision = np.count_nonzero(edges[0] & cv2.dilate(edges[1], disk)) / count_pred
        recall = np.count_nonzero(edges[1] & cv2.dilate(edges[0], disk)) / count_target
        total = precision + recall
        scores[index] = 2 * precision * recall / total if total else 0.0
    return scores


@lru_cache(maxsize=16)
def _disk(radius: float) -> np.ndarray:
    steps = np.arange(-int(radius), int(radius) + 1)
    return (steps[:, None] ** 2 + steps**2 <= radius**2).astype(np.uint8)
