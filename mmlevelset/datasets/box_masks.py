"""Masks of boxes, as the authors of BoxLevelSet make them."""

from typing import Any

import numpy as np
from mmdet.datasets.transforms import LoadAnnotations
from mmdet.structures.mask import BitmapMasks

from mmlevelset.registry import TRANSFORMS


def box_bitmaps(boxes: np.ndarray, height: int, width: int) -> BitmapMasks:
    """Return the masks of rounded boxes, their right and bottom pixels included.

    Args:
        boxes: x1, y1, x2, y2 (N, 4) in pixels; halves are rounded to even numbers.
        height: Height of the image in pixels.
        width: Width of the image in pixels.
    """
    masks = np.zeros((len(boxes), height, width), dtype=np.uint8)
    edges = boxes.round().astype(np.int64).clip(min=0)
    for mask, (left, top, right, bottom) in zip(masks, edges, strict=True):
        mask[top : bottom + 1, left : right + 1] = 1
    return BitmapMasks(masks, height, width)


@TRANSFORMS.register_module()
class LoadBoxMasks(LoadAnnotations):
    """Load boxes and labels, and make a mask of each box in the original image's pixels.

    Later transforms resize and flip these masks with the image, as in the authors' loader. So a
    head with ``inclusive_boxes=True`` trains on the same box masks as the authors' code. The masks
    of the annotations are not read.

    Required keys: ``img_shape``, ``instances``. Added keys: as mmdet's ``LoadAnnotations`` without
    masks, and ``gt_masks``.

    Args:
        **kwargs: The arguments of mmdet's ``LoadAnnotations``. ``with_bbox`` must be True,
            ``with_mask`` False.

    Raises:
        ValueError: ``with_bbox`` is not True, or ``with_mask`` is not False.
    """

    def __init__(self, **kwargs: Any) -> None:
        for name, needed in (("with_bbox", True), ("with_mask", False)):
            if kwargs.setdefault(name, needed) is not needed:
                raise ValueError(f"{name} must be {needed}, not {kwargs[name]!r}")
        super().__init__(**kwargs)

    def transform(self, results: dict) -> dict:
        results = super().transform(results)
        boxes = results["gt_bboxes"].numpy()
        results["gt_masks"] = box_bitmaps(boxes, *results["img_shape"][:2])
        return results
