"""Merging a detector's results in several views of an image."""

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

    The detection with the best score leads the first group. Detections of its class in other views
    are near the leader if their overlap with it is at least ``threshold``. The nearest detection of
    each view joins the group; the other near detections are removed. Then the best of the
    remaining detections leads the next group. Detections of the same view are never compared, so
    with a single view all detections stay.

    Args:
        overlap: IoU of all pairs (n, n).
        scores: Scores (n,).
        labels: Labels (n,).
        views: Index of each detection's view (n,).
        threshold: Minimum overlap.

    Returns:
        Groups of indices in the order of their leaders' scores. A group starts with its leader and
        has at most one detection of each view.
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
        # np.unique returns the first index of each view, in the order of overlap.
        near = near[np.argsort(-overlap[leader, near], kind="stable")]
        _, first = np.unique(views[near], return_index=True)
        groups.append([int(leader), *near[first].tolist()])
    return groups


def vote_masks(
    masks: EncodedMasks, weights: np.ndarray, groups: Sequence[Sequence[int]]
) -> EncodedMasks:
    """Return a mask for each group: the pixels in masks with at least half of the group's weight.

    Args:
        masks: n masks.
        weights: Positive weights (n,).
        groups: Indices of each group's masks.
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
