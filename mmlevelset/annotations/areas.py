"""The area of annotations that have none."""

from typing import Any

import pycocotools.mask as mask_utils

from mmlevelset.annotations.masks import encode, far_outside, is_polygon, rle_problem
from mmlevelset.annotations.reading import is_number


def area_of(annotation: dict, height: int, width: int) -> float | None:
    """Return the pixels of an annotation's mask, or of its box without a mask.

    None if its mask is invalid, or if it has no mask and its box is not four numbers.
    """
    mask = annotation.get("segmentation")
    if mask:
        sound = _sound_mask(mask, height, width)
        return None if sound is None else float(mask_utils.area(encode(sound, height, width)))
    box = annotation.get("bbox")
    if isinstance(box, list) and len(box) == 4 and all(map(is_number, box)):
        return box[2] * box[3]
    return None


def _sound_mask(mask: Any, height: int, width: int) -> Any:
    if isinstance(mask, dict):
        return None if rle_problem(mask, height, width) else mask
    parts = [part for part in mask if is_polygon(part)] if isinstance(mask, list) else []
    return None if not parts or any(far_outside(part, height, width) for part in parts) else parts
