"""Data in COCO's layout: skipped annotations are counted, errors name the place."""

import logging
from collections.abc import Sequence
from typing import Any

from mmdet.datasets import CocoDataset as MMDetCocoDataset
from mmengine.fileio import get_local_path
from mmengine.logging import print_log

from mmlevelset.annotations import EXPECTED, MASKS, View, judge, label_categories, listed, read_coco
from mmlevelset.datasets.mixed import LoadMixedAnnotations
from mmlevelset.registry import DATASETS


def _log(message: str, level: int = logging.INFO) -> None:
    print_log(message, logger="current", level=level)


@DATASETS.register_module()
class CocoDataset(MMDetCocoDataset):
    """Data in COCO's instance layout, with a count of the annotations that are not used.

    :func:`mmlevelset.annotations.judge` says which annotations are used, and why the others are
    not. For each reason, a line of the log gives the file, the count and the annotation ids. Images
    without objects (none in the file, or none left) are used or, with
    ``filter_cfg=dict(filter_empty_gt=True)``, left out in training; their number is logged.

    In testing, a pipeline that returns None raises an error that names the image.

    Args:
        *args, **kwargs: The arguments of mmdet's ``CocoDataset``.
        masks: ``required``: as above. ``optional``: an annotation with a box alone is kept, also if
            other annotations of the file have a mask. Its entry in ``instances`` has no key
            ``mask``, and :class:`~mmlevelset.datasets.LoadMixedAnnotations` loads it. ``unread``:
            boxes alone are used; masks and areas are not read.

    Raises:
        FileNotFoundError: ``ann_file`` does not exist.
        ValueError: ``data_prefix`` has no key ``img``; or ``ann_file`` is not JSON, is not in
            COCO's layout (the message names the key), has annotations of unlisted images, has none
            of the classes, or has its categories in another order than the classes; or no image is
            left after filtering; or ``masks`` is unknown, or does not fit the pipeline's loader.
    """

    def __init__(self, *args: Any, masks: str = "required", **kwargs: Any) -> None:
        if masks not in MASKS:
            raise ValueError(f"masks must be 'required', 'optional' or 'unread', not {masks!r}")
        self.masks = masks
        super().__init__(*args, **kwargs)
        self._check_loaders()

    def _check_loaders(self) -> None:
        if self.masks == "required":
            return
        needed = "with_mask=False" if self.masks == "unread" else "mmlevelset.LoadMixedAnnotations"
        for step in self.pipeline.transforms:
            if getattr(step, "with_mask", False) and not isinstance(step, LoadMixedAnnotations):
                raise ValueError(
                    f"masks={self.masks!r} needs {needed} in the pipeline, but it has"
                    f" {type(step).__name__} with with_mask=True, and objects may lack a mask"
                )

    def load_data_list(self) -> list[dict]:
        if "img" not in self.data_prefix:
            raise ValueError(
                "data_prefix must give the folder of the images as dict(img=...), not"
                f" {self.data_prefix!r}"
            )
        # Test sets are published without annotations.
        optional = ("annotations",) if self.test_mode else ()
        with get_local_path(self.ann_file, backend_args=self.backend_args) as path:
            file = read_coco(path, optional, name=self.ann_file).require_sound()
        view = judge(file, label_categories(file, self._categories()), self.masks)
        self.cat_ids = list(view.labels.label_of)
        self.cat2label = view.labels.label_of
        data_list = [
            self.parse_data_info(
                {"raw_img_info": image | {"img_id": image["id"]}, "raw_ann_info": used}
            )
            for image, used in zip(file.images, view.used, strict=True)
        ]
        self._left_out = {reason: len(ids) for reason, ids in view.skipped.items()}
        self._log_skipped(view)
        return data_list

    def _categories(self) -> Sequence[str]:
        """Return the classes that stand in the annotation file, in the order of the labels."""
        return self.metainfo["classes"]

    def _log_skipped(self, view: View) -> None:
        if view.trimmed:
            _log(
                f"left out the invalid polygons of {len(view.trimmed)} of"
                f" {view.total} annotations in {self.ann_file}, kept their others"
                f" (annotation ids {listed(view.trimmed)})",
                logging.WARNING,
            )
        for reason, ids in view.skipped.items():
            _log(
                f"skipped {len(ids)} of {view.total} annotations in {self.ann_file}:"
                f" {reason} (annotation ids {listed(ids)})",
                logging.INFO if reason in EXPECTED else logging.WARNING,
            )

    def filter_data(self) -> list[dict]:
        if self.test_mode:
            return self.data_list
        config = self.filter_cfg or {}
        drop_empty, min_size = config.get("filter_empty_gt", False), config.get("min_size", 0)
        kept, empty, small = [], 0, 0
        for info in self.data_list:
            is_empty = not info["instances"]
            empty += is_empty
            if is_empty and drop_empty:
                continue
            if min(info["width"], info["height"]) < min_size:
                small += 1
                continue
            kept.append(info)
        total = len(self.data_list)
        if empty:
            verb = "left out" if drop_empty else "kept"
            _log(f"{verb} {empty} of {total} images of {self.ann_file}: without objects")
        if small:
            _log(
                f"left out {small} of {total} images of {self.ann_file}: smaller than"
                f" {min_size} pixels"
            )
        if not kept:
            skipped = self._left_out.items()
            raise ValueError(
                f"no image of ann_file {self.ann_file} is left to train on: of {total} images"
                f" {empty} are without objects and {small} too small (filter_cfg={config})"
                + "".join(f"; {count} annotations skipped: {reason}" for reason, count in skipped)
            )
        return kept

    def prepare_data(self, idx: int) -> Any:
        data = super().prepare_data(idx)
        if data is None and self.test_mode:
            path = self.get_data_info(idx)["img_path"]
            raise ValueError(f"the pipeline gave None for image {path}, but testing skips no image")
        return data
