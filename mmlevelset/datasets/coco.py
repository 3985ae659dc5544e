"""COCO annotation files, checked: skipped annotations are counted, errors name the place."""

import json
import logging
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from mmdet.datasets import CocoDataset as MMDetCocoDataset
from mmdet.datasets.api_wrappers import COCO
from mmengine.logging import print_log

from mmlevelset.registry import DATASETS

_SHOWN_IDS = 10


class _LayoutError(ValueError):
    """A file is not in COCO's layout; the message names the key."""


class _ClassesError(ValueError):
    """A file's categories do not fit the classes."""


class _CheckedCOCO(COCO):
    optional_keys: tuple[str, ...] = ()

    def createIndex(self) -> None:
        _check_layout(self.dataset, self.optional_keys)
        super().createIndex()

    def get_cat_ids(self, cat_names: Sequence[str] = (), **kwargs: Any) -> list:
        ids = super().get_cat_ids(cat_names=list(cat_names), **kwargs)
        names = [self.cats[i]["name"] for i in ids]
        if cat_names and not ids:
            in_file = [category["name"] for category in self.cats.values()]
            raise _ClassesError(
                f"none of the classes {_listed(cat_names)} is among its categories"
                f" {_listed(in_file)}; name them with metainfo=dict(classes=(...))"
            )
        for label, (name, expected) in enumerate(zip(names, cat_names, strict=False)):
            if name != expected:
                raise _ClassesError(
                    f"label {label} would be its category '{name}', but classes[{label}] is"
                    f" '{expected}': labels follow the categories' order in the file; sort the"
                    " categories, or give metainfo=dict(classes="
                    f"({', '.join(map(repr, names))})) for training and testing"
                )
        return ids


class _CheckedTestCOCO(_CheckedCOCO):
    optional_keys = ("annotations",)  # test sets are published without annotations


def _check_layout(content: dict, optional: Sequence[str]) -> None:
    content = {key: [] for key in optional} | content
    for key in ("images", "categories", "annotations"):
        if not isinstance(content.get(key), list):
            found = f"is a {type(content[key]).__name__}" if key in content else "is missing"
            raise _LayoutError(f"key '{key}' must be a list, but it {found}")
    required = {
        "images": ("id", "file_name", "height", "width"),
        "categories": ("id", "name"),
        "annotations": ("id", "image_id", "category_id", "bbox", "area"),
    }
    ids: dict[str, set] = {}
    for key, names in required.items():
        entries = content[key]
        for position, entry in enumerate(entries):
            if not isinstance(entry, dict):
                raise _LayoutError(f"{key}[{position}] must be a dict, not {entry!r:.80}")
            for name in names:
                if name not in entry:
                    raise _LayoutError(
                        f"{key}[{position}] (id {entry.get('id')}) has no key '{name}'"
                    )
        ids[key] = {entry["id"] for entry in entries}
        if len(ids[key]) < len(entries):
            repeated = [i for i, n in Counter(e["id"] for e in entries).items() if n > 1]
            raise _LayoutError(f"key '{key}' holds an id more than once: {_listed(repeated)}")
    for image in content["images"]:
        for name in ("height", "width"):
            if not isinstance(image[name], int | float) or image[name] < 1:
                raise _LayoutError(
                    f"'{name}' of image {image['id']} must be a number of pixels, at least 1,"
                    f" not {image[name]!r}"
                )
    orphans = [a["id"] for a in content["annotations"] if a["image_id"] not in ids["images"]]
    if orphans:
        raise _LayoutError(
            f"'image_id' of {len(orphans)} annotations names no image of the file"
            f" (annotation ids {_listed(orphans)})"
        )


def _log(message: str, level: int = logging.INFO) -> None:
    print_log(message, logger="current", level=level)


def _listed(values: Iterable[Any]) -> str:
    values = list(values)
    more = f", ... {len(values) - _SHOWN_IDS} more" if len(values) > _SHOWN_IDS else ""
    return ", ".join(str(value) for value in values[:_SHOWN_IDS]) + more


def is_polygon(part: Any) -> bool:
    """Return whether ``part`` is a list x, y, x, y, ... of three or more finite points."""
    if not isinstance(part, list) or len(part) < 6 or len(part) % 2:
        return False
    try:
        return math.isfinite(sum(part))
    except TypeError:
        return False


def rle_problem(rle: dict, height: int, width: int) -> str | None:
    """Return the problem of an RLE mask for an image of this size, or None.

    The problem of an empty mask is "zero area".
    """
    counts = rle.get("counts")
    if list(rle.get("size") or ()) != [height, width]:
        return "the RLE mask's size is not the image's"
    runs = _run_lengths(counts) if isinstance(counts, str) else counts
    if not isinstance(runs, list) or not all(isinstance(n, int) and n >= 0 for n in runs):
        return "invalid RLE mask"
    if sum(runs) != height * width:
        return "invalid RLE mask"
    return None if any(runs[1::2]) else "zero area"


def _run_lengths(counts: str) -> list[int] | None:
    """Return the runs of a compressed RLE mask, None if the string is invalid.

    A character holds 5 bits. From the third run on, a number is a difference. pycocotools has no
    function for the runs, and decodes a string that is too short to uninitialised memory.
    """
    runs: list[int] = []
    value = shift = 0
    for code in (ord(character) - 48 for character in counts):
        if not 0 <= code < 64:
            return None
        value |= (code & 31) << shift
        shift += 5
        if not code & 32:
            value -= (1 << shift) if code & 16 else 0
            runs.append(value + (runs[-2] if len(runs) > 2 else 0))
            value = shift = 0
    return None if shift else runs


def _box_alone(annotation: dict) -> dict:
    left = {name: value for name, value in annotation.items() if name != "segmentation"}
    try:
        return left | {"area": float(left["bbox"][2]) * float(left["bbox"][3])}
    except (TypeError, ValueError, IndexError):
        return left  # a later check names the error of the box


@DATASETS.register_module()
class CocoDataset(MMDetCocoDataset):
    """Data in COCO's instance layout, with a count of the annotations that are not used.

    Like mmdet's ``CocoDataset``, this data set leaves out annotations that are marked ``ignore``,
    outside the image, of zero area, narrower than a pixel or not of its classes. It also leaves out
    annotations without a valid box, annotations whose polygons are all invalid (fewer than three
    points, an odd number of coordinates), annotations whose RLE mask does not fit, and annotations
    without a mask in a file where others have one. For each reason, a line of the log gives the
    file, the count and the annotation ids. Images without objects (none in the file, or none left)
    are used or, with ``filter_cfg=dict(filter_empty_gt=True)``, left out in training; their number
    is logged.

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
            left after filtering; or ``masks`` is unknown.
    """

    COCOAPI = _CheckedCOCO

    def __init__(self, *args: Any, masks: str = "required", **kwargs: Any) -> None:
        if masks not in ("required", "optional", "unread"):
            raise ValueError(f"masks must be 'required', 'optional' or 'unread', not {masks!r}")
        self.masks = masks
        super().__init__(*args, **kwargs)

    def load_data_list(self) -> list[dict]:
        self._skipped: dict[str, list[Any]] = defaultdict(list)
        self._trimmed: list[Any] = []
        self._num_annotations = 0
        self._has_masks: bool | None = None
        if "img" not in self.data_prefix:
            raise ValueError(
                "data_prefix must give the folder of the images as dict(img=...), not"
                f" {self.data_prefix!r}"
            )
        if self.test_mode:
            self.COCOAPI = _CheckedTestCOCO
        try:
            data_list = super().load_data_list()
        except FileNotFoundError as error:
            raise FileNotFoundError(f"ann_file {self.ann_file} does not exist") from error
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise ValueError(f"ann_file {self.ann_file} is not JSON: {error}") from error
        except AssertionError as error:
            raise ValueError(f"ann_file {self.ann_file} must hold a JSON object") from error
        except _LayoutError as error:
            raise ValueError(f"ann_file {self.ann_file} is not in COCO's layout: {error}") from None
        except _ClassesError as error:
            raise ValueError(f"ann_file {self.ann_file} does not fit: {error}") from None
        self._log_skipped()
        return data_list

    def parse_data_info(self, raw_data_info: dict) -> dict:
        image = raw_data_info["raw_img_info"]
        annotations = raw_data_info["raw_ann_info"]
        self._num_annotations += len(annotations)
        kept = []
        for annotation in annotations:
            if self.masks == "unread":
                annotation = _box_alone(annotation)
            reason = self._reason_to_skip(annotation, image["height"], image["width"])
            if reason:
                self._skipped[reason].append(annotation["id"])
            else:
                kept.append(self._without_invalid_polygons(annotation))
        return super().parse_data_info({"raw_img_info": image, "raw_ann_info": kept})

    def _reason_to_skip(self, annotation: dict, height: int, width: int) -> str | None:
        if annotation.get("ignore", False):
            return "marked 'ignore'"
        if annotation["category_id"] not in self.coco.cats:
            return "category not in the file"
        if annotation["category_id"] not in self.cat_ids:
            return "category not among the classes"
        try:
            x, y, w, h = (float(value) for value in annotation["bbox"])
            area = float(annotation["area"])
        except (TypeError, ValueError):
            return "bbox is not four numbers, or area not a number"
        if not all(map(math.isfinite, (x, y, w, h, area))):
            return "bbox or area is not finite"
        if w <= 0 or h <= 0 or area <= 0:
            return "zero area"
        if min(x + w, width) <= max(x, 0) or min(y + h, height) <= max(y, 0):
            return "outside the image"
        if w < 1 or h < 1:
            return "box narrower than a pixel"
        return self._mask_problem(annotation.get("segmentation"), height, width)

    def _mask_problem(self, segmentation: Any, height: int, width: int) -> str | None:
        if not segmentation:
            skip = self.masks == "required" and self._file_has_masks()
            return "no segmentation" if skip else None
        if isinstance(segmentation, dict):
            return rle_problem(segmentation, height, width)
        if isinstance(segmentation, list) and any(map(is_polygon, segmentation)):
            return None
        return "invalid segmentation"

    def _file_has_masks(self) -> bool:
        if self._has_masks is None:
            self._has_masks = any(a.get("segmentation") for a in self.coco.anns.values())
        return self._has_masks

    def _without_invalid_polygons(self, annotation: dict) -> dict:
        parts = annotation.get("segmentation")
        if not isinstance(parts, list) or all(map(is_polygon, parts)):
            return annotation
        self._trimmed.append(annotation["id"])
        return annotation | {"segmentation": [part for part in parts if is_polygon(part)]}

    def _log_skipped(self) -> None:
        if self._trimmed:
            _log(
                f"left out the invalid polygons of {len(self._trimmed)} of"
                f" {self._num_annotations} annotations in {self.ann_file}, kept their others"
                f" (annotation ids {_listed(self._trimmed)})",
                logging.WARNING,
            )
        for reason, ids in self._skipped.items():
            expected = reason in ("marked 'ignore'", "category not among the classes")
            _log(
                f"skipped {len(ids)} of {self._num_annotations} annotations in {self.ann_file}:"
                f" {reason} (annotation ids {_listed(ids)})",
                logging.INFO if expected else logging.WARNING,
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
            raise ValueError(
                f"no image of ann_file {self.ann_file} is left to train on: of {total} images"
                f" {empty} are without objects and {small} too small (filter_cfg={config})"
            )
        return kept

    def prepare_data(self, idx: int) -> Any:
        data = super().prepare_data(idx)
        if data is None and self.test_mode:
            path = self.get_data_info(idx)["img_path"]
            raise ValueError(f"the pipeline gave None for image {path}, but testing skips no image")
        return data
