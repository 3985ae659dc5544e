"""The checks of image files and of their annotations, one image at a time."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pycocotools.mask as mask_utils
from PIL import ExifTags, Image

from mmlevelset.experiments.checks.files import area_of, has_size

# Pixels. Rounding can move the edges of a box this far from the edges of its mask.
BOX_TOLERANCE = 2.0
TURNED = (
    "image files that are turned when loaded, as their EXIF data says: look whether the masks fit"
    ' (LoadImage with color_type="color_ignore_orientation" does not turn them)'
)
"""The only kind of :func:`check_image` that is a note and not a problem."""


@dataclass(frozen=True)
class ImageJob:
    """An image with its annotations, and the settings of the check."""

    path: Path
    image: dict
    annotations: list[dict]
    categories: frozenset
    needs_masks: bool
    whole_files: bool


def check_image(job: ImageJob) -> list[tuple[str, str]]:
    """Return the findings on an image's file and annotations, as pairs (kind, place)."""
    width, height = job.image["width"], job.image["height"]
    found = list(_file_problem(job, width, height))
    if not has_size(job.image):
        return [
            *found,
            ("images whose width or height is no positive integer", str(job.image["id"])),
        ]
    for annotation in job.annotations:
        found += [
            (kind, str(annotation["id"]))
            for kind in _annotation_problems(annotation, job, width, height)
        ]
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


def _annotation_problems(annotation: dict, job: ImageJob, width: int, height: int) -> Iterator[str]:
    if annotation["category_id"] not in job.categories:
        yield "annotations of a category that the file does not list"
    if annotation.get("iscrowd", 0) not in (0, 1):
        yield "annotations whose iscrowd is neither 0 nor 1"
    if not area_of(annotation) > 0:
        yield "annotations whose area is no positive number"
    box = _box(annotation.get("bbox"))
    if box is None:
        yield "annotations whose bbox is not four finite numbers"
    elif box[2] <= box[0] or box[3] <= box[1]:
        yield "annotations whose box has no area"
    elif min(box[:2]) < -1 or box[2] > width + 1 or box[3] > height + 1:
        yield "annotations whose box reaches outside the image"
    if not annotation.get("segmentation"):
        if job.needs_masks:
            yield "annotations without a mask, in a file with masks"
        return
    rle = _encoded(annotation["segmentation"], height, width)
    if isinstance(rle, str):
        yield f"annotations with {rle}"
    elif not mask_utils.area(rle):
        yield "annotations with an empty mask"
    elif box is not None:
        bounds = np.tile([width, height], 2)
        found = np.clip(_extent(annotation["segmentation"], rle), 0, bounds)
        if np.abs(np.clip(box, 0, bounds) - found).max() > BOX_TOLERANCE:
            yield f"annotations whose box is more than {BOX_TOLERANCE:g} pixels off its mask's"


def _extent(segmentation: Any, rle: dict) -> np.ndarray:
    """Return the box (4,) around a mask, x1, y1, x2, y2."""
    if isinstance(segmentation, list):
        # From the corners: spikes thinner than a pixel leave no trace in the run lengths.
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
    """Return compressed run lengths, or the problem of the mask."""
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


def decode_mask(annotation: dict, height: int, width: int) -> np.ndarray | None:
    """Return the mask (H, W) uint8 of an annotation, None if it has no valid mask."""
    if not annotation.get("segmentation"):
        return None
    rle = _encoded(annotation["segmentation"], height, width)
    return None if isinstance(rle, str) else mask_utils.decode(rle)
