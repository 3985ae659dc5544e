"""The checks of an annotation file in COCO's layout, and its statistics."""

import json
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mmlevelset.errors import InputError

TINY = 16
SMALL, MEDIUM = 32**2, 96**2
PERCENTILES = (1, 5, 25, 50, 75, 95, 99)
EXAMPLES = 10
# Published numbers; the number of annotations is not always known.
PUBLISHED: dict[str, dict[str, int]] = {
    "instances_train2017.json": dict(images=118287, categories=80, annotations=860001),
    "instances_val2017.json": dict(images=5000, categories=80, annotations=36781),
    "instancesonly_filtered_gtFine_train.json": dict(images=2975, categories=8),
    "instancesonly_filtered_gtFine_val.json": dict(images=500, categories=8),
    "lvis_v0.5_val_coco.json": dict(images=5000, categories=80),
    "voc_2012_train.json": dict(images=10582, categories=20),
    "voc_2012_val.json": dict(images=1449, categories=20),
    "voc_2012_detection_train.json": dict(images=5623, categories=20),
    "voc_2012_detection_val.json": dict(images=5732, categories=20),
}


@dataclass(frozen=True)
class Finding:
    """A kind of problem or note, with the number of its places and the first of them."""

    kind: str
    count: int
    examples: tuple[str, ...] = ()


def read_annotations(path: Path) -> dict[str, list[dict]]:
    """Return the lists ``images``, ``annotations`` and ``categories`` of a file in COCO's layout.

    Raises:
        InputError: The file does not exist, is no JSON, or lacks a key that the checks need.
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
    """Return counts and sizes. Instances are annotations without crowds; areas are in pixels."""
    images, annotations = content["images"], content["annotations"]
    instances = [item for item in annotations if not item.get("iscrowd")]
    crowds = Counter(item["category_id"] for item in annotations if item.get("iscrowd"))
    of_category = Counter(item["category_id"] for item in instances)
    in_images = Counter(
        category
        for category, _ in {(item["category_id"], item["image_id"]) for item in annotations}
    )
    per_image = Counter(item["image_id"] for item in annotations)
    counts = np.array([per_image[image["id"]] for image in images] or [0])
    areas = np.array([area_of(item) for item in instances])
    areas = areas[np.isfinite(areas) & (areas > 0)]
    sizes = Counter((image["width"], image["height"]) for image in images if has_size(image))
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


def has_size(image: dict) -> bool:
    """Return whether width and height are positive integers."""
    return all(isinstance(image[side], int) and image[side] > 0 for side in ("width", "height"))


def area_of(annotation: dict) -> float:
    """Return the area in pixels; NaN if it is no number."""
    try:
        return float(annotation["area"])
    except (KeyError, TypeError, ValueError):
        return math.nan


def file_findings(
    content: dict[str, list[dict]], classes: Sequence[str] | None, published: dict[str, int] | None
) -> tuple[list[Finding], list[Finding]]:
    """Return the problems of the file itself, and notes on it.

    Args:
        content: The result of :func:`read_annotations`.
        classes: The classes of a config, in order; None without a config.
        published: The numbers that the file must have, out of :data:`PUBLISHED`.

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
        problems.append(make_finding(f"{key} with the same {name} as another", repeated))
    image_ids = {image["id"] for image in images}
    orphans = [item["id"] for item in annotations if item["image_id"] not in image_ids]
    problems.append(make_finding("annotations of an image that is not listed", orphans))
    in_file = [category["name"] for category in categories]
    if classes is not None:
        lacking = [name for name in classes if name not in in_file]
        problems.append(make_finding("classes of the config that the file lacks", lacking))
        unused = [name for name in in_file if name not in classes]
        problems.append(make_finding("categories of the file that the config lacks", unused))
        if not lacking and [name for name in in_file if name in classes] != list(classes):
            problems.append(Finding("classes of the config in another order than the file's", 1))
    differing = [
        f"{len(content[name]):,} {name}, published {expected:,}"
        for name, expected in (published or {}).items()
        if len(content[name]) != expected
    ]
    problems.append(make_finding("numbers that differ from the published ones", differing))

    used = {item["category_id"] for item in annotations}
    empty = [category["name"] for category in categories if category["id"] not in used]
    with_objects = {item["image_id"] for item in annotations}
    blank = [image["file_name"] for image in images if image["id"] not in with_objects]
    tiny = [item["id"] for item in annotations if area_of(item) < TINY]
    notes = [
        make_finding("images without annotations", blank),
        make_finding("categories without annotations", empty),
        make_finding(f"annotations of fewer than {TINY} pixels", tiny),
    ]
    if annotations and not any(item.get("segmentation") for item in annotations):
        notes.append(Finding("the file has boxes alone, no masks", 1))
    return [found for found in problems if found.count], [found for found in notes if found.count]


def make_finding(kind: str, places: Iterable[Any]) -> Finding:
    """Return a finding with its first places as examples."""
    places = list(places)
    return Finding(kind, len(places), tuple(str(place) for place in places[:EXAMPLES]))
