"""The checks of image files and of their annotations, one image at a time."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pycocotools.mask as mask_utils

from mmlevelset.annotations.masks import encode
from mmlevelset.image_files import ImageFileError, read_header

# Pixels. Rounding can move the edges of a box this far from the edges of its mask.
BOX_TOLERANCE = 2.0
TURNED = (
    "image files that are turned when loaded, as their EXIF data says: look whether the masks fit"
    ' (LoadImage with color_type="color_ignore_orientation" does not turn them)'
)
"""The only kind of :func:`check_image` that is a note and not a problem."""


@dataclass(frozen=True)
class ImageJob:
    """An image with its used annotations, and the settings of the check."""

    path: Path
    image: dict
    annotations: list[dict]
    whole_files: bool
    loader: dict

    def __str__(self) -> str:
        return str(self.path)


def check_image(job: ImageJob) -> list[tuple[str, str]]:
    """Return the findings on an image's file and annotations, as pairs (kind, place)."""
    width, height = job.image["width"], job.image["height"]
    found = list(_file_problem(job, width, height))
    for annotation in job.annotations:
        found += [
            (kind, str(annotation["id"]))
            for kind in _annotation_problems(annotation, width, height)
        ]
    return found


def _file_problem(job: ImageJob, width: int, height: int) -> Iterator[tuple[str, str]]:
    if not job.path.is_file():
        yield "image files that are missing", str(job.path)
        return
    try:
        header = read_header(job.path, job.loader)
        if job.whole_files:
            from mmlevelset.datasets import LoadImage

            LoadImage(**job.loader)({"img_path": str(job.path)})
    except ValueError as error:
        kind = "cannot be used" if isinstance(error, ImageFileError) else "are damaged"
        yield f"image files that {kind}", str(error).removeprefix("image file ")
        return
    if header.turned:
        yield TURNED, str(job.path)
    if (header.width, header.height) != (width, height):
        turned = " as its EXIF data turns it" * header.turned
        yield (
            "image files of another size than their annotation",
            f"{job.path} ({header.width} x {header.height}{turned}, annotated {width} x {height})",
        )


def _annotation_problems(annotation: dict, width: int, height: int) -> Iterator[str]:
    """Yield what is odd about an annotation that is used."""
    x, y, w, h = annotation["bbox"]
    box = (x, y, x + w, y + h)
    if min(box[:2]) < -1 or box[2] > width + 1 or box[3] > height + 1:
        yield "annotations whose box reaches outside the image"
    if annotation.get("segmentation"):
        bounds = np.tile([width, height], 2)
        found = np.clip(_extent(annotation["segmentation"], height, width), 0, bounds)
        if np.abs(np.clip(box, 0, bounds) - found).max() > BOX_TOLERANCE:
            yield f"annotations whose box is more than {BOX_TOLERANCE:g} pixels off its mask's"


def _extent(segmentation: Any, height: int, width: int) -> np.ndarray:
    """Return the box (4,) around a mask, x1, y1, x2, y2."""
    if isinstance(segmentation, list):
        # From the corners: spikes thinner than a pixel leave no trace in the run lengths.
        points = np.concatenate([np.reshape(part, (-1, 2)) for part in segmentation])
        return np.concatenate([points.min(0), points.max(0)])
    x, y, w, h = mask_utils.toBbox(encode(segmentation, height, width))
    return np.array([x, y, x + w, y + h])


def decode_mask(annotation: dict, height: int, width: int) -> np.ndarray | None:
    """Return the mask (H, W) uint8 of a used annotation, None if it has no mask."""
    segmentation = annotation.get("segmentation")
    return mask_utils.decode(encode(segmentation, height, width)) if segmentation else None
