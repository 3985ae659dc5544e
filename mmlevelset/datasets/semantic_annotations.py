"""Label maps of images, read from files or painted from instances."""

from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform
from mmdet.datasets.transforms import LoadAnnotations

from mmlevelset.registry import TRANSFORMS

INSTANCE_KEYS = ("gt_bboxes", "gt_bboxes_labels", "gt_masks", "gt_ignore_flags")


@TRANSFORMS.register_module()
class LoadSemanticAnnotations(LoadAnnotations):
    """Load a label map. A missing, coloured or wrong file is an error.

    This is mmdet's ``LoadAnnotations(with_bbox=False, with_label=False, with_seg=True)`` with
    checks. Pillow decodes the file, so that a PNG file with a palette (Pascal VOC) gives labels;
    OpenCV would give colours.

    Required keys: ``seg_map_path`` (if it is missing or None, nothing is loaded); ``ori_shape`` and
    ``num_classes``, if given, must fit the map. Added keys: ``gt_seg_map`` (H, W) uint8,
    ``ignore_index``.

    Args:
        ignore_index: The value of pixels without a label.
        **kwargs: The arguments of mmdet's ``LoadAnnotations`` but ``with_*``.

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: The file is no image of 8 bits and one channel, or not of the image's size, or
            has labels outside 0..num_classes-1 other than ``ignore_index``. The message names the
            file.
    """

    def __init__(
        self, ignore_index: int = 255, imdecode_backend: str = "pillow", **kwargs: Any
    ) -> None:
        super().__init__(
            with_bbox=False,
            with_label=False,
            with_seg=True,
            ignore_index=ignore_index,
            imdecode_backend=imdecode_backend,
            **kwargs,
        )

    def _load_seg_map(self, results: dict) -> None:
        path = results.get("seg_map_path")
        if path is None:
            return
        try:
            super()._load_seg_map(results)
        except FileNotFoundError as error:
            raise FileNotFoundError(f"label map {path} does not exist") from error
        except Exception as error:  # each decoder has its own exceptions
            raise ValueError(f"label map {path} cannot be decoded: {error}") from error
        labels = results["gt_seg_map"]
        if labels.dtype != np.uint8 or labels.ndim != 2:
            raise ValueError(
                f"label map {path} must have 8 bits and one channel, and is {labels.dtype}"
                f" {labels.shape}"
            )
        size = results.get("ori_shape", labels.shape)
        if labels.shape != tuple(size):
            raise ValueError(
                f"label map {path} is {labels.shape[1]} x {labels.shape[0]} pixels (width x"
                f" height), but its image is {size[1]} x {size[0]}"
            )
        count = results.get("num_classes", 256)
        unknown = (labels >= count) & (labels != self.ignore_index)
        if unknown.any():
            raise ValueError(
                f"label map {path} must hold labels 0 to {count - 1} and {self.ignore_index}, and"
                f" it holds {np.unique(labels[unknown]).tolist()}"
            )


@TRANSFORMS.register_module()
class SemanticFromInstances(BaseTransform):
    """Paint the label map of an image from the masks of its instances.

    Large instances are painted first, so that small instances stay visible. Crowds and other
    ignored instances give 255 where no other instance is.

    Required keys: ``gt_masks``, ``gt_bboxes_labels``, ``gt_ignore_flags``, from
    ``LoadAnnotations(with_bbox=True, with_mask=True)``. Added keys: ``gt_seg_map`` (H, W) uint8, of
    the masks' size, and ``ignore_index``. Removed keys: the keys of the instances.

    Args:
        background: Class c becomes label c + 1, and 0 is the background. If False, c stays c and
            pixels without an instance are ignored.
        keep_instances: Keep the instances' keys.

    Raises:
        KeyError: A required key is missing.
        ValueError: A label does not fit below 255.
    """

    IGNORED = 255

    def __init__(self, background: bool = True, keep_instances: bool = False) -> None:
        self.background = background
        self.keep_instances = keep_instances

    def transform(self, results: dict) -> dict:
        for key in INSTANCE_KEYS[1:]:
            if key not in results:
                raise KeyError(
                    f"SemanticFromInstances needs {key!r}: put LoadAnnotations(with_bbox=True,"
                    " with_mask=True) before it"
                )
        masks = results["gt_masks"].to_ndarray().astype(bool, copy=False)
        labels = results["gt_bboxes_labels"] + int(self.background)
        ignored = results["gt_ignore_flags"]
        if np.any(labels[~ignored] >= self.IGNORED):
            raise ValueError(
                f"labels must be below {self.IGNORED} in a map of 8 bits, and the largest is"
                f" {labels[~ignored].max()}"
            )
        painted = np.full(
            (results["gt_masks"].height, results["gt_masks"].width),
            0 if self.background else self.IGNORED,
            np.uint8,
        )
        painted[masks[ignored].any(0)] = self.IGNORED
        areas = masks.sum((1, 2))
        for index in np.argsort(-areas, kind="stable"):
            if not ignored[index]:
                painted[masks[index]] = labels[index]
        results["gt_seg_map"] = painted
        results["ignore_index"] = self.IGNORED
        if not self.keep_instances:
            for key in INSTANCE_KEYS:
                results.pop(key, None)
        return results

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(background={self.background},"
            f" keep_instances={self.keep_instances})"
        )
