"""The checks of an annotation file in COCO's layout, and its statistics."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mmlevelset.annotations import (
    EXPECTED,
    AnnotationError,
    CocoFile,
    Labels,
    View,
    judge,
    label_categories,
)
from mmlevelset.annotations.reading import is_number

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


def statistics(file: CocoFile) -> dict[str, Any]:
    """Return counts and sizes. Instances are annotations without crowds; areas are in pixels."""
    images, annotations = file.images, file.annotations
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
    sizes = Counter((image["width"], image["height"]) for image in images)
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
            for category in file.categories
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


def area_of(annotation: dict) -> float:
    """Return the area in pixels; NaN if it is no number."""
    area = annotation["area"]
    return float(area) if is_number(area) else math.nan


def view_of(
    file: CocoFile, classes: Sequence[str] | None, masks: str, trains: bool = True
) -> tuple[View, list[Finding], list[Finding]]:
    """Return the verdicts on a file, and what stands between its categories and the classes.

    Args:
        file: The file.
        classes: The classes of a config, in order; None without a config.
        masks: As for :class:`~mmlevelset.datasets.CocoDataset`.
        trains: Whether the file is to train on: then it must have all classes.

    Returns:
        The verdicts, problems, and notes.
    """
    in_file = [category["name"] for category in file.categories]
    problems = [make_finding("categories with the same name as another", _repeated(in_file))]
    notes: list[Finding] = []
    if classes is not None:
        lacking = [name for name in classes if name not in in_file]
        found = make_finding("classes of the config that the file lacks", lacking)
        (problems if trains else notes).append(found)
        unused = [name for name in in_file if name not in classes]
        notes.append(make_finding("categories of the file that the config lacks", unused))
        if not lacking and [name for name in in_file if name in classes] != list(classes):
            problems.append(Finding("classes of the config in another order than the file's", 1))
    try:
        labels = label_categories(file, classes)
    except AnnotationError as error:
        problems = problems if any(p.count for p in problems) else [Finding(str(error), 1)]
        labels = Labels(tuple(in_file), {c["id"]: n for n, c in enumerate(file.categories)}, ())
    there = [[finding for finding in group if finding.count] for group in (problems, notes)]
    return judge(file, labels, masks), there[0], there[1]


def file_findings(
    file: CocoFile, view: View, published: dict[str, int] | None
) -> tuple[list[Finding], list[Finding]]:
    """Return the problems of the file itself, and notes on it.

    Args:
        file: The file.
        view: The verdicts on its annotations.
        published: The numbers that the file must have, out of :data:`PUBLISHED`.

    Returns:
        Problems and notes. Each reason to refuse the file, and each reason to skip an annotation,
        is a problem, but for :data:`~mmlevelset.annotations.EXPECTED`.
    """
    images, annotations, categories = file.images, file.annotations, file.categories
    problems = [make_finding(refusal.kind, refusal.places) for refusal in file.refusals]
    names = _repeated(image.get("file_name") for image in images)
    problems.append(make_finding("images with the same file_name as another", names))
    trimmed = "annotations that lose some of their polygons, which are invalid"
    problems.append(make_finding(trimmed, view.trimmed))
    notes: list[Finding] = []
    for reason, ids in view.skipped.items():
        found = make_finding(f"annotations skipped: {reason}", ids)
        (notes if reason in EXPECTED else problems).append(found)
    lists = dict(images=images, annotations=annotations, categories=categories)
    differing = [
        f"{len(lists[name]):,} {name}, published {expected:,}"
        for name, expected in (published or {}).items()
        if len(lists[name]) != expected
    ]
    problems.append(make_finding("numbers that differ from the published ones", differing))

    used = {item["category_id"] for item in annotations}
    empty = [category["name"] for category in categories if category["id"] not in used]
    with_objects = {item["image_id"] for item in annotations}
    blank = [image.get("file_name") for image in images if image["id"] not in with_objects]
    tiny = [item["id"] for item in annotations if area_of(item) < TINY]
    notes += [
        make_finding("images without annotations", blank),
        make_finding("categories without annotations", empty),
        make_finding(f"annotations of fewer than {TINY} pixels", tiny),
    ]
    if annotations and not any(item.get("segmentation") for item in annotations):
        notes.append(Finding("the file has boxes alone, no masks", 1))
    return [found for found in problems if found.count], [found for found in notes if found.count]


def _repeated(values: Iterable[Any]) -> list:
    return [value for value, count in Counter(values).items() if count > 1]


def make_finding(kind: str, places: Iterable[Any]) -> Finding:
    """Return a finding with its first places as examples."""
    places = list(places)
    return Finding(kind, len(places), tuple(str(place) for place in places[:EXAMPLES]))
