"""Image files: that they exist and open, and their size. No pixel is decoded."""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmlevelset.image_files import ImageFileError, read_header

SAMPLE = 200
"""Number of images that are opened where not all are asked for."""
DEEP_SAMPLE = 3
"""Number of images of 16 bits that are decoded: a header does not tell how many bits are used."""


def sample(entries: Sequence[Any], every: bool) -> Sequence[Any]:
    """Return all entries, or the same random :data:`SAMPLE` of them in each call."""
    if every or len(entries) <= SAMPLE:
        return entries
    return random.Random(0).sample(entries, SAMPLE)


def image_troubles(images: Sequence[dict], folder: Path, loader: dict, every: bool) -> list[str]:
    """Return a line for each kind of fault of the image files of an annotation file.

    Args:
        images: The images of the file.
        folder: Their folder.
        loader: The settings of the transform that loads them.
        every: Open all images, not a sample.
    """
    from mmlevelset.datasets import LoadImage

    if not folder.is_dir():
        return [f"the folder of the images {folder} does not exist"]
    names = [image["file_name"] for image in images]
    missing = sorted(_missing(folder, names))
    troubles = []
    if missing:
        troubles.append(
            f"{len(missing)} of {len(names)} images do not exist, the first is"
            f" {folder / missing[0]}"
        )
    gone, deep = set(missing), 0
    faults: list[str] = []
    there = [image for image in images if image["file_name"] not in gone]
    for image in sample(there, every):
        path = folder / image["file_name"]
        try:
            header = read_header(path, loader)
            if header.bits == 16 and deep < DEEP_SAMPLE:
                deep += 1
                LoadImage(**loader)({"img_path": str(path)})
        except (ImageFileError, OSError, ValueError) as error:
            faults.append(str(error))
            continue
        if (header.width, header.height) != (image["width"], image["height"]):
            faults.append(
                f"image file {path} is {header.width} x {header.height} pixels (width x height),"
                f" but its annotation says {image['width']} x {image['height']}"
            )
    if faults:
        more = f", and {len(faults) - 1} more images have faults" * (len(faults) > 1)
        troubles.append(faults[0] + more)
    return troubles


def _missing(folder: Path, names: Sequence[str]) -> set[str]:
    """Return the names without a file. A folder is listed once: a look for each name is slow."""
    listed: dict[str, set[str]] = {}
    missing = set()
    for name in names:
        parent, base = os.path.split(name)
        if parent not in listed:
            where = folder / parent
            listed[parent] = set(os.listdir(where)) if where.is_dir() else set()
        if base not in listed[parent]:
            missing.add(name)
    return missing
