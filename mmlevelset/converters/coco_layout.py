"""Annotations and annotation files in COCO's layout."""

import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pycocotools.mask as mask_utils

from mmlevelset.files import write_whole


def make_annotation(
    mask: np.ndarray, image_id: int, category_id: int, iscrowd: int = 0
) -> dict[str, Any] | None:
    """Return COCO's annotation of a mask, still without ``id``.

    Args:
        mask: (H, W) bool, the size of the image.
        image_id: Id of the image.
        category_id: Id of the category.
        iscrowd: 1 for a region that is not one object.

    Returns:
        ``segmentation`` (compressed run lengths), ``bbox`` (x, y, width, height), ``area`` in
        pixels, ``image_id``, ``category_id``, ``iscrowd``; None for an empty mask.
    """
    assert mask.ndim == 2 and mask.dtype == bool
    encoded = mask_utils.encode(np.asfortranarray(mask, np.uint8))
    area = int(mask_utils.area(encoded))
    if not area:
        return None
    return {
        "image_id": image_id,
        "category_id": category_id,
        "bbox": mask_utils.toBbox(encoded).tolist(),
        "area": area,
        "segmentation": {"size": list(mask.shape), "counts": encoded["counts"].decode("ascii")},
        "iscrowd": iscrowd,
    }


def number_categories(names: Iterable[str]) -> list[dict[str, Any]]:
    """Return COCO's categories with the ids 1, 2, ..."""
    return [{"id": number, "name": name} for number, name in enumerate(names, 1)]


def write_instances(
    path: Path, parts: Iterable[dict], categories: Sequence[dict], **more: object
) -> tuple[int, int]:
    """Write a file of instances, with images and annotations numbered from 1.

    Args:
        path: The file.
        parts: Dicts with ``images``, ``annotations`` and ``notes``, as
            :class:`~mmlevelset.converters.parts.Parts` keeps them; only one part is in memory at a
            time. The notes are printed to stderr.
        categories: COCO's categories.
        more: Other keys of the file, such as ``info``.

    Returns:
        The numbers of images and of annotations.
    """
    images: list[dict] = []
    count = 0

    def write(unfinished: str) -> None:
        nonlocal count
        with open(unfinished, "w") as file:
            file.write('{"annotations":[')
            for part in parts:
                ids = {}
                for note in part.get("notes", ()):
                    print(f"note: {note}", file=sys.stderr)
                for image in part["images"]:
                    ids[image["id"]] = len(images) + 1
                    images.append({**image, "id": len(images) + 1})
                for annotation in part["annotations"]:
                    count += 1
                    image_id = ids[annotation["image_id"]]
                    file.write(",\n" if count > 1 else "\n")
                    numbered = {**annotation, "id": count, "image_id": image_id}
                    json.dump(numbered, file, separators=(",", ":"))
            rest = json.dumps({"images": images, "categories": list(categories), **more})
            file.write("],\n" + rest[1:])

    write_whole(path, write)
    print(f"{path}: {len(images)} images, {count} instances")
    return len(images), count
