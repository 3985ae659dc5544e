"""The verdict on each annotation: used, ignored, or skipped for a reason."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from mmlevelset.annotations.masks import empty_polygons, far_outside, is_polygon, rle_problem
from mmlevelset.annotations.reading import AnnotationError, CocoFile, is_number, listed

MASKS = ("required", "optional", "unread")
IGNORED, OTHER_CLASS = "marked 'ignore'", "category not among the classes"
EXPECTED = (IGNORED, OTHER_CLASS)
"""Reasons to skip an annotation that are no fault of the file."""


@dataclass(frozen=True)
class Labels:
    """The labels of a file's categories.

    Attributes:
        classes: The names of the labels 0, 1, ...
        label_of: Category id -> label, for the categories among the classes.
        missing: The classes that the file's categories lack.
    """

    classes: tuple[str, ...]
    label_of: dict[Any, int]
    missing: tuple[str, ...]


@dataclass
class View:
    """The verdicts on the annotations of a file.

    Attributes:
        labels: The labels of the categories.
        used: For each image, in the file's order, its annotations that count. ``iscrowd`` is 0 or
            1; invalid polygons beside valid polygons are gone.
        ignored: For each image, annotations that are marked ``ignore`` and have no fault. A data
            set leaves them out; a metric ignores detections in them.
        skipped: Reason -> ids of the annotations that are left out, the ignored included.
        trimmed: Ids of annotations that lost some of their polygons.
        total: The number of annotations.
    """

    labels: Labels
    used: list[list[dict]]
    ignored: list[list[dict]]
    skipped: dict[str, list[Any]] = field(default_factory=lambda: defaultdict(list))
    trimmed: list[Any] = field(default_factory=list)
    total: int = 0


def label_categories(
    file: CocoFile, classes: Sequence[str] | None = None, ordered: bool = True
) -> Labels:
    """Return the labels of the categories, which are matched with the classes by name.

    Args:
        file: The file.
        classes: The names of the labels; None: all categories in the file's order.
        ordered: Whether the categories must stand in the order of the classes.

    Raises:
        AnnotationError: None of the classes is among the categories, a name stands twice, or the
            order differs.
    """
    in_file = [category["name"] for category in file.categories]
    wanted = tuple(in_file if classes is None else classes)
    chosen = [category for category in file.categories if category["name"] in set(wanted)]
    names = [category["name"] for category in chosen]
    problem = None
    if wanted and not names:
        problem = (
            f"none of the classes {listed(wanted)} is among its categories"
            f" {listed(in_file) or '(it has none)'}; name them with metainfo=dict(classes=(...))"
        )
    for owner, several in (("the classes", wanted), ("its categories", names)):
        twice = sorted({name for name in several if several.count(name) > 1})
        if twice and not problem:
            problem = f"{owner} must have different names, but {listed(twice)} stands twice"
    for label, (name, expected) in enumerate(zip(names, wanted, strict=False)):
        if ordered and not problem and name != expected:
            problem = (
                f"label {label} would be its category '{name}', but classes[{label}] is"
                f" '{expected}': labels follow the categories' order in the file; sort the"
                f" categories, or give metainfo=dict(classes={tuple(names)!r}) for training and"
                " testing"
            )
    if problem:
        raise AnnotationError(f"ann_file {file.path} does not fit: {problem}")
    label_of = {category["id"]: wanted.index(category["name"]) for category in chosen}
    return Labels(wanted, label_of, tuple(name for name in wanted if name not in set(names)))


def judge(file: CocoFile, labels: Labels, masks: str = "required") -> View:
    """Return the verdict on each annotation of a file.

    An annotation is skipped if it is marked ``ignore``; if its category is not among the classes or
    not in the file; if ``iscrowd`` or ``ignore`` is neither 0 nor 1; if its box or area is no
    number, not finite, without area, narrower than a pixel or outside the image; if a coordinate is
    far outside the image; or if its mask is missing (in a file where others have a mask), invalid,
    of another size than the image, or without a pixel in the image. A missing ``iscrowd`` or
    ``ignore`` is 0.

    Args:
        file: The file.
        labels: The labels of the categories, from :func:`label_categories`.
        masks: ``required``; ``optional``: an annotation with a box alone is used; ``unread``: masks
            and areas are not looked at.
    """
    listed_ids = {category["id"] for category in file.categories}
    has_masks = any(annotation.get("segmentation") for annotation in file.annotations)
    needed = masks == "required" and has_masks
    of_image: dict[Any, list[dict]] = defaultdict(list)
    for annotation in file.annotations:
        of_image[annotation["image_id"]].append(annotation)
    view = View(labels, [], [], total=len(file.annotations))
    for image in file.images:
        height, width = image["height"], image["width"]
        used: list[dict] = []
        ignored: list[dict] = []
        drawn: list[dict] = []
        for annotation in of_image.get(image["id"], ()):
            if masks == "unread":
                annotation = _box_alone(annotation)
            reason = _reason(annotation, labels, listed_ids, height, width)
            if not reason:
                annotation = annotation | {"iscrowd": int(annotation.get("iscrowd") or 0)}
                reason = _mask_reason(annotation, needed, height, width)
            if reason:
                marked = annotation.get("ignore") in (True, 1)
                view.skipped[IGNORED if marked else reason].append(annotation["id"])
                continue
            if isinstance(annotation.get("segmentation"), list):
                parts = annotation["segmentation"]
                sound = [part for part in parts if is_polygon(part)]
                if len(sound) < len(parts):
                    annotation["segmentation"] = sound
                    view.trimmed.append(annotation["id"])
                if sound:
                    drawn.append(annotation)
            (ignored if annotation.get("ignore") else used).append(annotation)
        empty = empty_polygons([a["segmentation"] for a in drawn], height, width)
        blank = {id(a) for a, is_empty in zip(drawn, empty, strict=True) if is_empty}
        for group in (used, ignored):
            view.skipped["zero area"] += [a["id"] for a in group if id(a) in blank]
            group[:] = [a for a in group if id(a) not in blank]
        view.skipped[IGNORED] += [annotation["id"] for annotation in ignored]
        view.used.append(used)
        view.ignored.append(ignored)
    view.skipped = {reason: ids for reason, ids in view.skipped.items() if ids}
    return view


def _box_alone(annotation: dict) -> dict:
    """Return the annotation without its mask, with the box's area."""
    left = {name: value for name, value in annotation.items() if name != "segmentation"}
    box = left["bbox"]
    if isinstance(box, list) and len(box) == 4 and all(map(is_number, box)):
        left["area"] = box[2] * box[3]
    return left


def _reason(
    annotation: dict, labels: Labels, listed_ids: set, height: int, width: int
) -> str | None:
    """Return the reason to skip an annotation for anything but its mask and its mark."""
    if annotation["category_id"] not in labels.label_of:
        known = annotation["category_id"] in listed_ids
        return OTHER_CLASS if known else "category not in the file"
    if any(annotation.get(name) not in (None, 0, 1) for name in ("iscrowd", "ignore")):
        return "iscrowd or ignore is neither 0 nor 1"
    box, area = annotation["bbox"], annotation["area"]
    if not isinstance(box, list) or len(box) != 4 or not all(map(_is_numeric, (*box, area))):
        return "bbox is not four numbers, or area not a number"
    if not all(map(is_number, (*box, area))):
        return "bbox or area is not finite"
    x, y, w, h = box
    if w <= 0 or h <= 0 or area <= 0:
        return "zero area"
    if far_outside([x, y, x + w, y + h], height, width):
        return "coordinates far outside the image"
    if min(x + w, width) <= max(x, 0) or min(y + h, height) <= max(y, 0):
        return "outside the image"
    if w < 1 or h < 1:
        return "box narrower than a pixel"
    return None


def _is_numeric(value: Any) -> bool:
    return type(value) in (int, float)


def _mask_reason(annotation: dict, needed: bool, height: int, width: int) -> str | None:
    segmentation = annotation.get("segmentation")
    if not segmentation:
        return "no segmentation" if needed else None
    if isinstance(segmentation, dict):
        return rle_problem(segmentation, height, width)
    sound = [part for part in segmentation if is_polygon(part)] if _is_list(segmentation) else []
    if not sound:
        return "invalid segmentation"
    if any(far_outside(part, height, width) for part in sound):
        return "coordinates far outside the image"
    return None


def _is_list(value: Any) -> bool:
    return isinstance(value, list)
