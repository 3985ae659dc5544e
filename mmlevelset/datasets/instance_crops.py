"""Crops of single objects from data in COCO's instance layout."""

import logging
import math
import random
from collections.abc import Sequence
from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform
from mmengine.logging import print_log

from mmlevelset.datasets.coco import CocoDataset
from mmlevelset.datasets.semantic_annotations import INSTANCE_KEYS
from mmlevelset.registry import DATASETS, TRANSFORMS


@DATASETS.register_module()
class InstanceCropDataset(CocoDataset):
    """A data set in COCO's layout with one item for each instance.

    An item is the image's item with a single entry in ``instances``. In the pipeline,
    :class:`CropInstance` after ``LoadAnnotations(with_bbox=True, with_mask=True)`` cuts out the
    instance and makes its mask the label map. Crowds and instances without a mask are left out.

    Args:
        min_box_size: Instances with a box narrower or lower than this, in pixels, are left out;
            their number is logged.
        *args, **kwargs: The arguments of :class:`~mmlevelset.datasets.CocoDataset`. ``filter_cfg``
            and ``indices`` count items, not images.

    Raises:
        ValueError: ``min_box_size`` is negative, or no instance is left; or an error of
            ``CocoDataset``.
    """

    def __init__(self, *args: Any, min_box_size: float = 16, **kwargs: Any) -> None:
        if not min_box_size >= 0:
            raise ValueError(f"min_box_size must be a number of pixels >= 0, not {min_box_size!r}")
        self.min_box_size = min_box_size
        super().__init__(*args, **kwargs)

    def load_data_list(self) -> list[dict]:
        items, small = [], 0
        for info in super().load_data_list():
            for instance in info["instances"]:
                if instance["ignore_flag"] or not instance.get("mask"):
                    continue
                left, top, right, bottom = instance["bbox"]
                if min(right - left, bottom - top) < self.min_box_size:
                    small += 1
                    continue
                items.append({**info, "instances": [instance]})
        if small:
            print_log(
                f"left out {small} of {small + len(items)} instances of {self.ann_file}: a box side"
                f" below {self.min_box_size} pixels",
                logger="current",
                level=logging.INFO,
            )
        if not items:
            raise ValueError(
                f"ann_file {self.ann_file} has no instance with a mask and a box of at least"
                f" {self.min_box_size} x {self.min_box_size} pixels"
            )
        return items


@TRANSFORMS.register_module()
class CropInstance(BaseTransform):
    """Cut out one instance: its box, enlarged about its centre, with its mask as label map.

    Other instances in the crop are background. The box is cut at the image's border, and its edges
    are rounded outwards to whole pixels. The crop then is the item's image: ``ori_shape`` is the
    crop's size.

    Required keys: ``img``, ``gt_bboxes`` and ``gt_masks`` of one instance. Added keys:
    ``gt_seg_map`` (h, w) uint8: 0 background, 1 object; ``ignore_index``; ``crop_box`` (left, top,
    right, bottom) in pixels of the image, right and bottom exclusive. Changed keys: ``img``,
    ``img_shape``, ``ori_shape``, ``height``, ``width``. Removed keys: the keys of the instances.

    Args:
        factor: Width and height of the crop, as a multiple of the box's, at least 1; or (least,
            most), for training: the factor is drawn uniformly between them.

    Raises:
        KeyError: A required key is missing.
        ValueError: ``factor`` is invalid, or the item does not have exactly one instance.
    """

    def __init__(self, factor: float | Sequence[float] = 1.25) -> None:
        bounds = tuple(factor) if isinstance(factor, Sequence) else (factor, factor)
        if len(bounds) != 2 or not 1 <= bounds[0] <= bounds[1] < math.inf:
            raise ValueError(
                f"factor must be a number of at least 1, or (least, most) of them, not {factor!r}"
            )
        self.factor = bounds

    def transform(self, results: dict) -> dict:
        for key in ("gt_bboxes", "gt_masks"):
            if key not in results:
                raise KeyError(
                    f"CropInstance needs {key!r}: put LoadAnnotations(with_bbox=True,"
                    " with_mask=True) before it"
                )
        if len(results["gt_bboxes"]) != 1:
            raise ValueError(
                f"CropInstance needs one instance in {results.get('img_path')}, but there are"
                f" {len(results['gt_bboxes'])}; mmlevelset.InstanceCropDataset gives one at a time"
            )
        least, most = self.factor
        factor = least if least == most else random.uniform(least, most)
        boxes = results["gt_bboxes"]
        box = np.asarray(getattr(boxes, "tensor", boxes)[0], dtype=np.float64)
        height, width = results["img"].shape[:2]
        centre, reach = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]) / 2 * factor
        left, top = np.maximum(np.floor(centre - reach), 0).astype(int).tolist()
        ends = np.minimum(np.ceil(centre + reach), (width, height))
        right, bottom = ends.astype(int).tolist()

        mask = results["gt_masks"].to_ndarray()[0]
        results["gt_seg_map"] = (mask[top:bottom, left:right] > 0).astype(np.uint8)
        results["ignore_index"] = 255
        results["img"] = np.ascontiguousarray(results["img"][top:bottom, left:right])
        results["img_shape"] = results["ori_shape"] = (bottom - top, right - left)
        results["height"], results["width"] = bottom - top, right - left
        results["crop_box"] = (left, top, right, bottom)
        for key in (*INSTANCE_KEYS, "instances"):
            results.pop(key, None)
        return results

    def __repr__(self) -> str:
        return f"{type(self).__name__}(factor={self.factor})"
