"""What verify_dataset.py counts and checks: a file in COCO's layout, and its images."""

import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pycocotools.mask as mask_utils
from PIL import ExifTags, Image

from mmlevelset.errors import InputError

# Pixels between the edges of a box and of its mask that rounding explains.
BOX_TOLERANCE = 2.0
TINY = 16
SMALL, MEDIUM = 32**2, 96**2
PERCENTILES = (1, 5, 25, 50, 75, 95, 99)
EXAMPLES = 10
TURNED = (
    "image files that are turned when loaded, as their EXIF data says: look whether the masks fit"
    ' (LoadImage with color_type="color_ignore_orientation" does not turn them)'
)
"""A note; all else that :func:`check_image` finds is a problem."""

# Published: images, categories, and annotations where we know them.
PUBLISHED: dict[str, dict[str, int]] = {
    "instances_train2017.json": dict(images=118287, categories=80, annotations=860001),
    "instances_val2017.json": dict(images=5000, categories=80, annotations=36781),
    "instancesonly_filtered_gtFine_train.json": dict(images=2975, categories=8),
    "instancesonly_filtered_gtFine_val.json": dict(images=500, categories=8),
    "lvis_v0.5_val_coco.json": dict(images=5000, categories=80),
    "voc_2012_train.json": dict(images=10582, categories=20),
    "voc_2012_val.json": dict(images=1449, categories=20),
}


@dataclass(frozen=True)
class Finding:
    """Something about a data set, how often, and some of the places."""

    kind: str
    count: int
    examples: tuple[str, ...] = ()


@dataclass(frozen=True)
class ImageJob:
    """An image with its annotations, to be checked in any process."""

    path: Path
    image: dict
    annotations: list[dict]
    categories: frozenset
    needs_masks: bool
    whole_files: bool


def read_annotations(path: Path) -> dict[str, list[dict]]:
    """The lists ``images``, ``annotations`` and ``categories`` of a file in COCO's layout.

    Raises:
        InputError: it does not exist, is no JSON, or lacks a key that the checks need.
    """
    if not path.is_file():
        raise InputError(f"the annotation file {path} does not exist")
    try:
        content = json.loads(path.read_bytes())
    except ValueError as error:
        raise InputError(f"{path} is no JSON, or is truncated: {error}") from error
    needed = {
        "images": ("id", "file_name", "height", "width"),
        "annotations": ("id", "image_id", "category_id"),
        "categories": ("id", "name"),
    }
    for key, names in needed.items():
        entries = content.get(key) if isinstance(content, dict) else None
        if not isinstance(entries, list):
            raise InputError(f"{path} is not in COCO's layout: it has no list '{key}'")
        for index, entry in enumerate(entries):
            lacks = [name for name in names if not isinstance(entry, dict) or name not in entry]
            if lacks:
                raise InputError(
                    f"{path} is not in COCO's layout: {key}[{index}] has no '{lacks[0]}'"
                )
    return {key: content[key] for key in needed}


def statistics(content: dict[str, list[dict]]) -> dict[str, Any]:
    """Counts and sizes. An instance is an annotation that is no crowd; areas are in pixels."""
    images, annotations = content["images"], content["annotations"]
    instances = [one for one in annotations if not one.get("iscrowd")]
    crowds = Counter(one["category_id"] for one in annotations if one.get("iscrowd"))
    of_category = Counter(one["category_id"] for one in instances)
    in_images = Counter(
        category for category, _ in {(one["category_id"], one["image_id"]) for one in annotations}
    )
    per_image = Counter(one["image_id"] for one in annotations)
    counts = np.array([per_image[image["id"]] for image in images] or [0])
    areas = np.array([_area(one) for one in instances])
    areas = areas[np.isfinite(areas) & (areas > 0)]
    sizes = Counter((image["width"], image["height"]) for image in images if _has_size(image))
    sides = np.array(list(sizes.elements()) or [(0, 0)])
    return {
        "images": len(images),
        "annotations": len(annotations),
        "instances": len(instances),
        "crowds": len(annotations) - len(instances),
        "images_without_annotations": int((counts == 0).sum()) if images else 0,
        "annotations_per_image": {"mean": float(counts.mean()), "most": int(counts.max())},
        "categories": [
            {
                "id": category["id"],
                "name": category["name"],
                "instances": of_category[category["id"]],
                "crowds": crowds[category["id"]],
                "images": in_images[category["id"]],
            }
            for category in content["categories"]
        ],
        "image_sizes": {
            "different": len(sizes),
            "smallest": sides.min(0).tolist(),
            "median": np.median(sides, 0).tolist(),
            "largest": sides.max(0).tolist(),
            "most_frequent": [[*size, count] for size, count in sizes.most_common(3)],
        },
        "instance_sizes": {
            "small": int((areas < SMALL).sum()),
            "medium": int(((areas >= SMALL) & (areas < MEDIUM)).sum()),
            "large": int((areas >= MEDIUM).sum()),
            "square_root_of_area": {
                str(p): round(float(np.percentile(np.sqrt(areas), p)), 1) for p in PERCENTILES
            }
            if len(areas)
            else {},
        },
    }


def _has_size(image: dict) -> bool:
    return all(isinstance(image[side], int) and image[side] > 0 for side in ("width", "height"))


def _area(one: dict) -> float:
    try:
        return float(one["area"])
    except (KeyError, TypeError, ValueError):
        return math.nan


def file_findings(
    content: dict[str, list[dict]], classes: Sequence[str] | None, published: dict[str, int] | None
) -> tuple[list[Finding], list[Finding]]:
    """What is wrong with the file itself, and what is only worth knowing.

    Args:
        content: of :func:`read_annotations`.
        classes: those of a config, in order; None where there is none.
        published: numbers that must hold, of :data:`PUBLISHED`.

    Returns:
        Problems and notes.
    """
    images, annotations, categories = (
        content[key] for key in ("images", "annotations", "categories")
    )
    problems = []
    for key, entries, name in (
        ("images", images, "id"),
        ("images", images, "file_name"),
        ("annotations", annotations, "id"),
        ("categories", categories, "id"),
        ("categories", categories, "name"),
    ):
        repeated = [value for value, n in Counter(e[name] for e in entries).items() if n > 1]
        problems.append(finding(f"{key} with the same {name} as another", repeated))
    image_ids = {image["id"] for image in images}
    orphans = [one["id"] for one in annotations if one["image_id"] not in image_ids]
    problems.append(finding("annotations of an image that is not listed", orphans))
    in_file = [category["name"] for category in categories]
    if classes is not None:
        lacking = [name for name in classes if name not in in_file]
        problems.append(finding("classes of the config that the file lacks", lacking))
        unused = [name for name in in_file if name not in classes]
        problems.append(finding("categories of the file that the config lacks", unused))
        if not lacking and [name for name in in_file if name in classes] != list(classes):
            problems.append(Finding("classes of the config in another order than the file's", 1))
    differing = [
        f"{len(content[name]):,} {name}, published {expected:,}"
        for name, expected in (published or {}).items()
        if len(content[name]) != expected
    ]
    problems.append(finding("numbers that differ from the published ones", differing))

    used = {one["category_id"] for one in annotations}
    empty = [category["name"] for category in categories if category["id"] not in used]
    with_objects = {one["image_id"] for one in annotations}
    blank = [image["file_name"] for image in images if image["id"] not in with_objects]
    tiny = [one["id"] for one in annotations if _area(one) < TINY]
    notes = [
        finding("images without annotations", blank),
        finding("categories without annotations", empty),
        finding(f"annotations of fewer than {TINY} pixels", tiny),
    ]
    if annotations and not any(one.get("segmentation") for one in annotations):
        notes.append(Finding("the file has boxes alone, no masks", 1))
    return [one for one in problems if one.count], [one for one in notes if one.count]


def finding(kind: str, places: Iterable[Any]) -> Finding:
    """A finding with the first of its places as examples."""
    places = list(places)
    return Finding(kind, len(places), tuple(str(place) for place in places[:EXAMPLES]))


def check_image(job: ImageJob) -> list[tuple[str, str]]:
    """What is wrong with an image's file and annotations, or :data:`TURNED`: kinds, and where."""
    width, height = job.image["width"], job.image["height"]
    found = list(_file_problem(job, width, height))
    if not _has_size(job.image):
        return [
            *found,
            ("images whose width or height is no positive integer", str(job.image["id"])),
        ]
    for one in job.annotations:
        found += [(kind, str(one["id"])) for kind in _annotation_problems(one, job, width, height)]
    return found


def _file_problem(job: ImageJob, width: Any, height: Any) -> Iterator[tuple[str, str]]:
    from mmlevelset.datasets.loading import image_file_problem

    try:
        if job.whole_files:
            problem = image_file_problem(job.path.read_bytes())
            if problem:
                yield "image files that are damaged", f"{job.path} {problem}"
                return
        with Image.open(job.path) as image:
            if job.whole_files:
                image.load()
            size = image.size
            orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    except FileNotFoundError:
        yield "image files that are missing", str(job.path)
        return
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        yield "image files that cannot be read", f"{job.path} ({error})"
        return
    turned = " as its EXIF data turns it" if orientation != 1 else ""
    if turned:
        yield TURNED, str(job.path)
    if orientation in (5, 6, 7, 8):
        size = size[::-1]
    if size != (width, height):
        yield (
            "image files of another size than their annotation",
            f"{job.path} ({size[0]} x {size[1]}{turned}, annotated {width} x {height})",
        )


def _annotation_problems(one: dict, job: ImageJob, width: int, height: int) -> Iterator[str]:
    if one["category_id"] not in job.categories:
        yield "annotations of a category that the file does not list"
    if one.get("iscrowd", 0) not in (0, 1):
        yield "annotations whose iscrowd is neither 0 nor 1"
    if not _area(one) > 0:
        yield "annotations whose area is no positive number"
    box = _box(one.get("bbox"))
    if box is None:
        yield "annotations whose bbox is not four finite numbers"
    elif box[2] <= box[0] or box[3] <= box[1]:
        yield "annotations whose box has no area"
    elif min(box[:2]) < -1 or box[2] > width + 1 or box[3] > height + 1:
        yield "annotations whose box reaches outside the image"
    if not one.get("segmentation"):
        if job.needs_masks:
            yield "annotations without a mask, in a file with masks"
        return
    rle = _encoded(one["segmentation"], height, width)
    if isinstance(rle, str):
        yield f"annotations with {rle}"
    elif not mask_utils.area(rle):
        yield "annotations with an empty mask"
    elif box is not None:
        bounds = np.tile([width, height], 2)
        found = np.clip(_extent(one["segmentation"], rle), 0, bounds)
        if np.abs(np.clip(box, 0, bounds) - found).max() > BOX_TOLERANCE:
            yield f"annotations whose box is more than {BOX_TOLERANCE:g} pixels off its mask's"


def _extent(segmentation: Any, rle: dict) -> np.ndarray:
    """The box (4,) around a mask, x1, y1, x2, y2."""
    if isinstance(segmentation, list):
        # Of the corners: spikes thinner than a pixel leave no trace in the run lengths.
        points = np.concatenate([np.reshape(part, (-1, 2)) for part in segmentation])
        return np.concatenate([points.min(0), points.max(0)])
    x, y, w, h = mask_utils.toBbox(rle)
    return np.array([x, y, x + w, y + h])


def _box(value: Any) -> tuple[float, float, float, float] | None:
    try:
        x, y, w, h = (float(number) for number in value)
    except (TypeError, ValueError):
        return None
    return (x, y, x + w, y + h) if all(map(math.isfinite, (x, y, w, h))) else None


def _encoded(segmentation: Any, height: int, width: int) -> dict | str:
    """Compressed run lengths, or what is wrong."""
    from mmlevelset.datasets.coco import is_polygon, rle_problem

    if isinstance(segmentation, dict):
        problem = rle_problem(segmentation, height, width)
        if problem == "zero area":
            return "an empty mask"
        if problem:
            return "a mask of another size than the image" if "size" in problem else "invalid RLE"
        if isinstance(segmentation["counts"], list):
            return mask_utils.frPyObjects(segmentation, height, width)
        return segmentation
    if not isinstance(segmentation, list) or not all(map(is_polygon, segmentation)):
        return "an invalid polygon (three points or more, finite)"
    return mask_utils.merge(mask_utils.frPyObjects(segmentation, height, width))


def decode(one: dict, height: int, width: int) -> np.ndarray | None:
    """The mask (H, W) uint8 of an annotation, None where it has none that is valid."""
    if not one.get("segmentation"):
        return None
    rle = _encoded(one["segmentation"], height, width)
    return None if isinstance(rle, str) else mask_utils.decode(rle)
