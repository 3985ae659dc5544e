"""Merging the detections of overlapping tiles: suppression of doubles, joining of pieces."""

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
    """Greedy non-maximum suppression by the overlap of masks.

    The best detection stays, and others of its class that overlap it too much go; so on with the
    best of the rest. Overlap is the intersection over the union (IoU), and the intersection over
    the smaller of both masks (IoS), which also sees a piece of an object under the whole object.

    Args:
        masks: n masks.
        scores: (n,).
        labels: (n,).
        iou_thr: What has a greater IoU goes; None: IoU does not matter.
        ios_thr: What has a greater IoS goes; None: IoS does not matter.
        ios_of: ``all``; ``cut``: ``ios_thr`` holds for those alone that are cut.
        class_agnostic: Compare detections of different classes too.
        cut: Bool (n,), what may be a piece of an object. These come after all others, the largest
            first, so that the more complete detection stays.
        sources: Where each detection comes from; those from just the same stay side by side.

    Returns:
        Indices of what stays, in the order of choice: by score, without ``cut``.

    Raises:
        ValueError: A length does not fit, or ``ios_of`` is unknown.
    """
    if ios_of not in IOS_OF:
        raise ValueError(f"ios_of must be one of {', '.join(IOS_OF)}, but is {ios_of!r}")
    for name, values in dict(scores=scores, labels=labels, cut=cut, sources=sources).items():
        if values is not None and len(values) != len(masks):
            raise ValueError(f"{name} must be of {len(masks)} masks, but is of {len(values)}")
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
        # Of a crowd, COCO's IoU is the intersection over the other mask's area.
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
    """Find which detections of different tiles are pieces of one object.

    Two cut detections belong together if they agree where their tiles overlap: the IoU of their
    masks within both windows is at least ``join_thr``. The pairs that agree best are joined
    first, and a group has at most one detection of each tile.

    Args:
        masks: n masks in the whole image.
        labels: (n,).
        tiles: The tile of each detection (n,).
        windows: Each tile's (left, top, right, bottom).
        cut: Bool (n,), what may be a piece.
        join_thr: Least IoU.
        class_agnostic: Join detections of different classes too.

    Returns:
        Groups of indices, which hold each detection once; all that are not cut stand alone.
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
        one, other = groups[first], groups[second]
        if {tiles[index] for index in one}.isdisjoint(tiles[index] for index in other):
            one.extend(other)
            groups.update((index, one) for index in other)
    return list({id(group): sorted(group) for group in groups.values()}.values())


def _touching(box: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Which of the boxes (n, 4) overlap a box (4,)."""
    return np.all((boxes[:, :2] < box[2:]) & (box[:2] < boxes[:, 2:]), axis=1)


def _common_region(first: Window, second: Window, size: tuple[int, int]) -> dict:
    left, top = max(first[0], second[0]), max(first[1], second[1])
    right, bottom = min(first[2], second[2]), min(first[3], second[3])
    return place_mask(np.ones((bottom - top, right - left), dtype=bool), left, top, *size)
