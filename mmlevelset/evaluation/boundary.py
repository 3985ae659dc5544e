"""How well a predicted outline lies on the true one: boundary F1 and boundary IoU of two masks."""

import math
from collections.abc import Sequence
from functools import lru_cache

import cv2
import numpy as np
from pycocotools import mask as mask_util

_MARGIN = 2


def boundary_map(mask: np.ndarray) -> np.ndarray:
    """Mark the boundary pixels of masks, one pixel wide, as the DAVIS benchmark does.

    A pixel is on the boundary when its value differs from that of the next pixel to the right,
    below, or diagonally below. The image's own edge is no boundary.

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
    """F1 between the boundary pixels of two masks.

    Precision is the part of the predicted boundary pixels that lie within the tolerance
    (Euclidean distance between pixel centres) of a true one, recall the reverse. Two masks
    without any boundary agree (1); if just one has none, F1 is 0.

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
            "pred and target must be two masks (H, W) of one size, "
            f"got shapes {pred.shape} and {target.shape}"
        )
    return _pair_f1(np.stack([pred, target]).astype(np.uint8, copy=False), tolerances)


def rle_boundary_f1(pred: dict, target: dict, tolerances: Sequence[float] = (1, 2)) -> np.ndarray:
    """:func:`boundary_f1` of two COCO run-length encoded masks, computed where the masks are.

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
    """IoU of the inner boundary regions of two COCO run-length encoded masks.

    The region is what of the mask lies within d pixels (chessboard distance) of the outside, with
    d = ``dilation_ratio`` times the image's diagonal, rounded and at least 1. What is beyond the
    image counts as outside. Without a pixel in either region the IoU is 0.

    Args:
        pred, target: ``dict(size=[H, W], counts=...)``, compressed RLE.
        dilation_ratio: > 0.

    Returns:
        In [0, 1].

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
    """Both masks in their common box and a margin: (2, w, h), uint8.

    So transposed they are contiguous, and no measure here tells x from y.
    """
    if list(pred["size"]) != list(target["size"]):
        raise ValueError(
            f"pred and target must have one size [H, W], got {pred['size']} and {target['size']}"
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
    """The part from ``low`` to ``high`` (x, y) of a mask, transposed; its columns alone are made.

    pycocotools makes all pixels of the image, most of whose time is then lost on what is cut off.
    """
    height = rle["size"][0]
    first, last = low[0] * height, high[0] * height
    lengths = np.diff(_run_ends(rle["counts"]).clip(first, last), prepend=first)
    values = (np.arange(len(lengths)) & 1).astype(np.uint8)
    return np.repeat(values, lengths).reshape(-1, height)[:, low[1] : high[1]]


def _run_ends(counts: bytes | str) -> np.ndarray:
    """Where COCO's compressed runs, of 0 and 1 in turns, end; pixels go down the columns."""
    data = np.frombuffer(counts.encode() if isinstance(counts, str) else counts, np.uint8) - 48
    # A character has five bits of a number, the lowest first; its sixth says that more follow.
    last = np.flatnonzero(data < 32)
    first = np.append(0, last[:-1] + 1)
    shifts = 5 * (np.arange(len(data)) - np.repeat(first, last - first + 1))
    lengths = np.add.reduceat((data & 31).astype(np.int64) << shifts, first)
    # The highest of them is the sign, in two's complement.
    lengths -= (data[last] & 16).astype(np.int64) << (shifts[last] + 1)
    # From the fourth on, a number is the difference to the last but one.
    lengths[1::2] = lengths[1::2].cumsum()
    lengths[2::2] = lengths[2::2].cumsum()
    return lengths.cumsum()


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
