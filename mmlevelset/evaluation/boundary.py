"""Boundary F1 of two masks: how well a predicted outline lies on the true one."""

from collections.abc import Sequence
from functools import lru_cache

import cv2
import numpy as np
from pycocotools import mask as mask_util


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
    if list(pred["size"]) != list(target["size"]):
        raise ValueError(
            f"pred and target must have one size [H, W], got {pred['size']} and {target['size']}"
        )
    # Transposed, the decoded pair is contiguous; nothing in the measure tells x from y.
    pair = mask_util.decode([pred, target]).T
    boxes = mask_util.toBbox([pred, target])
    boxes = boxes[boxes[:, 2] > 0]
    if len(boxes):
        margin = 2
        low = (boxes[:, :2].min(0) - margin).clip(0).astype(int)
        high = ((boxes[:, :2] + boxes[:, 2:]).max(0) + margin).astype(int)
        pair = pair[:, low[0] : high[0], low[1] : high[1]]
    return _pair_f1(pair, tolerances)


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
