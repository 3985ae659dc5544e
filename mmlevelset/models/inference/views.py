"""One result out of what a detector finds in several views of an image."""

from collections.abc import Sequence

import numpy as np
from pycocotools import mask as mask_util

from mmlevelset.models.inference.encoded import EncodedMasks, place_mask


def group_views(
    overlap: np.ndarray,
    scores: np.ndarray,
    labels: np.ndarray,
    views: np.ndarray,
    threshold: float,
) -> list[list[int]]:
    """Group the detections of several views that show the same object.

    The detection with the best score leads a group. Of each other view it takes the detection of
    its class that overlaps it most, by at least ``threshold``; what else of other views overlaps
    it so much goes. Then the best of the rest leads the next group. Detections of one view are
    never compared: of a single view, all stay.

    Args:
        overlap: IoU of all pairs (n, n).
        scores: (n,).
        labels: (n,).
        views: The view of each detection (n,).
        threshold: Least overlap.

    Returns:
        Groups of indices, the leader first, by the leaders' scores; at most one of each view.
    """
    left = np.ones(len(scores), dtype=bool)
    groups = []
    for leader in np.argsort(-scores, kind="stable"):
        if not left[leader]:
            continue
        left[leader] = False
        same = left & (labels == labels[leader]) & (views != views[leader])
        near = np.flatnonzero(same & (overlap[leader] >= threshold))
        left[near] = False
        # The first of each view in the order of overlap.
        near = near[np.argsort(-overlap[leader, near], kind="stable")]
        _, first = np.unique(views[near], return_index=True)
        groups.append([int(leader), *near[first].tolist()])
    return groups


def vote_masks(
    masks: EncodedMasks, weights: np.ndarray, groups: Sequence[Sequence[int]]
) -> EncodedMasks:
    """One mask for each group: where masks with at least half of the group's weight are.

    Args:
        masks: n masks.
        weights: (n,), positive.
        groups: Indices of masks.
    """
    boxes = masks.boxes().astype(int)
    voted = []
    for group in groups:
        left, top = boxes[group, :2].min(0)
        right, bottom = boxes[group, 2:].max(0)
        share = np.zeros((bottom - top, right - left))
        for index in group:
            mask = mask_util.decode(masks.rles[index])[top:bottom, left:right]
            share += weights[index] * mask
        inside = share >= weights[list(group)].sum() / 2
        voted.append(place_mask(inside, left, top, *masks.size))
    return EncodedMasks(voted, *masks.size)
