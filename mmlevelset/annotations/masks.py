"""The check of a mask in COCO's formats, without pixels."""

from typing import Any

import numpy as np
import pycocotools.mask as mask_utils

from mmlevelset.annotations.reading import is_number

_LONGEST_CODE = 7  # characters of 5 bits: runs are below 2**32 in pycocotools
_NEAR = 10_000


def run_lengths(counts: str | bytes) -> np.ndarray | None:
    """Return the run lengths (R,) int64 of a compressed RLE mask, None if the text is invalid.

    A character holds 5 bits of a number, lowest bits first; its sixth bit says whether the number
    goes on. Numbers are in two's complement. From the fourth on, a number is the run's length minus
    the length two runs before. pycocotools has no function for the runs, and decodes a text that is
    too short to uninitialised memory.
    """
    try:
        text = counts.encode("ascii") if isinstance(counts, str) else counts
    except UnicodeEncodeError:
        return None
    codes = np.frombuffer(text, np.uint8).astype(np.int64) - 48
    if not codes.size:
        return codes
    if codes.min() < 0 or codes.max() >= 64 or codes[-1] >= 32:
        return None
    last = np.flatnonzero(codes < 32)
    first = np.append(0, last[:-1] + 1)
    length = last - first + 1
    if length.max() > _LONGEST_CODE:
        return None
    shifts = 5 * (np.arange(codes.size) - np.repeat(first, length))
    runs = np.add.reduceat((codes & 31) << shifts, first)
    runs -= (codes[last] & 16) << (shifts[last] + 1)
    runs[1::2] = runs[1::2].cumsum()
    runs[2::2] = runs[2::2].cumsum()
    return runs


def rle_problem(rle: dict, height: int, width: int) -> str | None:
    """Return the problem of an RLE mask for an image of this size, or None.

    The problem of an empty mask is "zero area".
    """
    counts, size = rle.get("counts"), rle.get("size")
    if not isinstance(size, list | tuple) or list(size) != [height, width]:
        return "the RLE mask's size is not the image's"
    if isinstance(counts, list):
        if not all(type(run) is int and 0 <= run <= height * width for run in counts):
            return "invalid RLE mask"
        total, inside = sum(counts), sum(counts[1::2])
    elif isinstance(counts, str | bytes):
        runs = run_lengths(counts)
        if runs is None or (runs < 0).any():
            return "invalid RLE mask"
        total, inside = int(runs.sum()), int(runs[1::2].sum())
    else:
        return "invalid RLE mask"
    if total != height * width:
        return "invalid RLE mask"
    return None if inside else "zero area"


def is_polygon(part: Any) -> bool:
    """Return whether ``part`` is a list x, y, x, y, ... of three or more finite points."""
    return (
        isinstance(part, list)
        and len(part) >= 6
        and len(part) % 2 == 0
        and all(map(is_number, part))
    )


def far_outside(values: list, height: int, width: int) -> bool:
    """Return whether a coordinate of x, y, x, y, ... is far outside the image.

    Far is more than ten times the image's longer side, and more than 10,000 pixels. pycocotools
    takes time and memory for each pixel of an outline, also outside the image.
    """
    far = max(_NEAR, 10 * max(height, width))
    return min(values) < -far or max(values[::2]) > width + far or max(values[1::2]) > height + far


def empty_polygons(polygons: list[list[list]], height: int, width: int) -> list[bool]:
    """Return for each mask, a list of polygons, whether it covers no pixel of the image."""
    parts = [part for mask in polygons for part in mask]
    if not parts:
        return []
    areas = iter(mask_utils.area(mask_utils.frPyObjects(parts, height, width)).tolist())
    return [not any([next(areas) for _ in mask]) for mask in polygons]


def encode(segmentation: Any, height: int, width: int) -> dict:
    """Return the compressed run lengths of a valid mask: polygons, or RLE of either kind."""
    if isinstance(segmentation, list):
        return mask_utils.merge(mask_utils.frPyObjects(segmentation, height, width))
    if isinstance(segmentation["counts"], list):
        return mask_utils.frPyObjects(segmentation, height, width)
    return segmentation
