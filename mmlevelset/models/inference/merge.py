"""Merging the detections of overlapping tiles: mask NMS, and joining the pieces of objects."""

from collections.abc import Sequence

import numpy as np
from pycocotools import mask as mask_util

from mmlevelset.models.inference.encoded import EncodedMasks, place_mask

Window = tuple[int, int, int, int]
IOS_OF = ("all", "cut")


def mask_nms(
    masks: EncodedMasks,
    scores: np.ndarray,
    labels: np.ndarray,
    *,
    iou_thr: float | None = 0.5,
    ios_thr: float | None = None,
    ios_of: str = "all",
    class_agnostic: bool = False,
    cut: np.ndarray | None = None,
    sources: Sequence[frozenset[int]] | None = None,
) -> np.ndarray:
    """Return the detections that greedy non-maximum suppression of masks keeps.

    The best detection is kept, and detections of its class that overlap it too much are removed.
    This repeats with the best of the remaining detections. The overlap is measured as intersection
    over union (IoU) and as intersection over the smaller mask (IoS). IoS is also large between a
    piece of an object and the whole object.

    Args:
        masks: n masks.
        scores: Scores (n,).
        labels: Labels (n,).
        iou_thr: A detection with a larger IoU is removed; None to ignore the IoU.
        ios_thr: A detection with a larger IoS is removed; None to ignore the IoS.
        ios_of: Detections that ``ios_thr`` can remove: ``all``, or only ``cut`` detections.
        class_agnostic: Whether detections of different classes are compared.
        cut: Bool (n,), whether a detection may be a piece of an object. Cut detections come after
            all others, the largest first, so that the most complete detection is kept.
        sources: The set of tiles of each detection. Detections with equal sets are not compared.

    Returns:
        Indices of the kept detections in the order of choice; without ``cut``, by score.

    Raises:
        ValueError: A length does not fit, or ``ios_of`` is unknown.
    """
    if ios_of not in IOS_OF:
        raise ValueError(f"ios_of must be one of {', '.join(IOS_OF)}, but is {ios_of!r}")
    for name, values in dict(scores=scores, labels=labels, cut=cut, sources=sources).items():
        if values is not None and len(values) != len(masks):
            raise ValueError(
                f"{name} must have a value for each of {len(masks)} masks, but has {len(values)}"
            )
    areas, boxes = masks.areas(), masks.boxes()
    late = np.zeros(len(masks), dtype=bool) if cut is None else np.asarray(cut, dtype=bool)
    order = np.lexsort((-scores, np.where(late, -areas, 0.0), late))
    alive = np.ones(len(masks), dtype=bool)
    kept = []
    for best in order:
        if not alive[best]:
            continue
        alive[best] = False
        kept.append(best)
        rivals = np.flatnonzero(alive & _touching(boxes[best], boxes))
        if not class_agnostic:
            rivals = rivals[labels[rivals] == labels[best]]
        if sources is not None:
            apart = [sources[best] != sources[rival] for rival in rivals]
            rivals = rivals[np.array(apart, dtype=bool)]
        if not len(rivals):
            continue
        # With iscrowd=1, pycocotools' IoU is the intersection over the area of the first mask.
        others = [masks.rles[rival] for rival in rivals]
        share = mask_util.iou(others, [masks.rles[best]], [1])[:, 0]
        common = np.rint(share * areas[rivals])
        gone = np.zeros(len(rivals), dtype=bool)
        if iou_thr is not None:
            union = areas[best] + areas[rivals] - common
            gone |= common > iou_thr * union
        if ios_thr is not None:
            smaller = np.minimum(areas[best], areas[rivals])
            gone |= (common > ios_thr * smaller) & (late[rivals] | (ios_of == "all"))
        alive[rivals[gone]] = False
    return np.array(kept, dtype=np.int64)


def join_pieces(
    masks: EncodedMasks,
    labels: np.ndarray,
    tiles: np.ndarray,
    windows: Sequence[Window],
    cut: np.ndarray,
    *,
    join_thr: float = 0.5,
    class_agnostic: bool = False,
) -> list[list[int]]:
    """Group the detections of different tiles that are pieces of the same object.

    Two cut detections are joined if they agree where their tiles overlap: the IoU of their masks
    inside both windows is at least ``join_thr``. Pairs with the highest IoU are joined first. A
    group has at most one detection of each tile.

    Args:
        masks: n masks in the whole image.
        labels: Labels (n,).
        tiles: Index of each detection's tile (n,).
        windows: (left, top, right, bottom) of each tile.
        cut: Bool (n,), whether a detection may be a piece.
        join_thr: Minimum IoU of joined detections.
        class_agnostic: Whether detections of different classes can be joined.

    Returns:
        Groups of indices. Each detection is in one group; a detection that is not cut is alone.
    """
    boxes = masks.boxes()
    shared: dict[tuple[int, int], dict] = {}
    pairs = []
    for first in np.flatnonzero(cut):
        others = cut & (tiles > tiles[first]) & _touching(boxes[first], boxes)
        if not class_agnostic:
            others &= labels == labels[first]
        for second in np.flatnonzero(others):
            key = int(tiles[first]), int(tiles[second])
            if key not in shared:
                shared[key] = _common_region(windows[key[0]], windows[key[1]], masks.size)
            within = [
                mask_util.merge([masks.rles[piece], shared[key]], intersect=True)
                for piece in (first, second)
            ]
            agreement = mask_util.iou(within[:1], within[1:], [0])[0, 0]
            if agreement >= join_thr and mask_util.area(within[0]) > 0:
                pairs.append((agreement, first, second))
    groups = {index: [index] for index in range(len(masks))}
    for _, first, second in sorted(pairs, key=lambda pair: -pair[0]):
        group, other = groups[first], groups[second]
        if {tiles[index] for index in group}.isdisjoint(tiles[index] for index in other):
            group.extend(other)
            groups.update((index, group) for index in other)
    return list({id(group): sorted(group) for group in groups.values()}.values())


def _touching(box: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Return whether each of the boxes (n, 4) overlaps a box (4,)."""
    return np.all((boxes[:, :2] < box[2:]) & (box[:2] < boxes[:, 2:]), axis=1)


def _common_region(first: Window, second: Window, size: tuple[int, int]) -> dict:
    left, top = max(first[0], second[0]), max(first[1], second[1])
    right, bottom = min(first[2], second[2]), min(first[3], second[3])
    return place_mask(np.ones((bottom - top, right - left), dtype=bool), left, top, *size)
