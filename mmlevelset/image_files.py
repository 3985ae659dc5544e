"""The headers of image files, and the rules by which the loader reads the pixels.

docs/datasets.md has the rules. The loader and ``tools/verify_dataset.py`` share this code.
"""

import io
import re
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from PIL import ExifTags, Image, TiffImagePlugin

from mmlevelset.errors import InputError

DEEP = 2**14
"""A file of 16 bits whose values are all smaller than this holds values of fewer bits."""
HEAD = 1024
"""Bytes that hold the depth of a PNG file or the header of a PPM file."""
_SWAPPED = (5, 6, 7, 8)


class ImageFileError(InputError, ValueError):
    """An image file cannot be used; the message names it."""


class Header(NamedTuple):
    """What an image file says about itself.

    Attributes:
        width: Width in pixels as the loader gives it.
        height: Height in pixels as the loader gives it.
        bits: Bits of a value, 8 or 16.
        turned: Whether the loader turns or mirrors the image, as its EXIF data says.
    """

    width: int
    height: int
    bits: int
    turned: bool


def read_header(source: Path | bytes, loader: dict | None = None, name: str = "") -> Header:
    """Read the header of an image file, and check that the loader can follow it.

    Args:
        source: The file or its content.
        loader: The arguments of :class:`~mmlevelset.datasets.LoadImage`, of which ``color_type``
            and ``imdecode_backend`` matter.
        name: The file's name in errors.

    Raises:
        ImageFileError: The file is missing, is no image, has neither 8 nor 16 bits a value, or must
            be turned and the decoder does not turn its format.
    """
    name = name or str(source)
    loader = loader or {}
    backend = loader.get("imdecode_backend", "cv2")
    ignore = loader.get("color_type", "color") in (
        "color_ignore_orientation",
        "grayscale_ignore_orientation",
        "unchanged",
    )
    try:
        with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as image:
            kind, (width, height) = image.format or "", image.size
            orientation = _orientation(image)
            if isinstance(
                image, TiffImagePlugin.TiffImageFile
            ):  # Pillow swaps the sides of a TIFF file by itself
                tags = image.tag_v2
                width, height = tags[256], tags[257]
            bits = _bits(image, source)
    except FileNotFoundError:
        raise ImageFileError(f"image file {name} does not exist") from None
    except Image.DecompressionBombError as error:
        raise ImageFileError(
            f"image file {name} has too many pixels for Pillow, cut it into parts: {error}"
        ) from error
    except Exception as error:  # the decoders' errors for a damaged file have no common class
        raise ImageFileError(f"image file {name} cannot be read: {error}") from error
    if bits not in (8, 16):
        raise ImageFileError(
            f"image file {name} must have 8 or 16 bits a value, but has {bits}: convert it"
        )
    if orientation not in range(2, 9):
        return Header(width, height, bits, False)
    turns = _decoder_turns(kind, backend, ignore)
    if not turns and not ignore:
        raise ImageFileError(
            f"image file {name} must be turned, as its EXIF data says (orientation {orientation}),"
            f" but the decoder does not turn {kind} files: turn its pixels and save it again, or"
            ' take LoadImage with color_type="color_ignore_orientation"'
        )
    if turns and orientation in _SWAPPED:
        width, height = height, width
    return Header(width, height, bits, turns)


def _orientation(image: Image.Image) -> int:
    """Return the orientation in the EXIF data.

    Pillow's ``getexif`` takes that of XMP data too, which decoders do not follow; and it decodes a
    PNG file.
    """
    if image.format == "TIFF":
        return image.tag_v2.get(ExifTags.Base.Orientation, 1)  # type: ignore[attr-defined]
    exif = Image.Exif()
    try:
        exif.load(image.info.get("exif", b""))
        return exif.get(ExifTags.Base.Orientation, 1)
    except Exception:  # many kinds, on damaged data, which decoders ignore
        return 1


def _bits(image: Image.Image, source: Path | bytes) -> int:
    """Return the bits of a value; Pillow opens 16-bit colours in 8 bits."""
    if image.format in ("PNG", "PPM"):
        if isinstance(source, bytes):
            head = source[:HEAD]
        else:
            with source.open("rb") as file:
                head = file.read(HEAD)
        if image.format == "PNG":
            return max(8, head[24])  # the bit depth in the header's chunk
        # P2, P3, P5, P6: width, height and the largest value, with comments between them.
        found = re.match(rb"P[2356](?:(?:\s|#[^\n]*\n)+(\d+)){3}", head)
        if found:
            return 8 if int(found[1]) < 256 else 16
    if image.format == "TIFF":
        bits = image.tag_v2.get(258, (1,))  # type: ignore[attr-defined]
        most = max(bits) if isinstance(bits, tuple) else bits
        return 8 if most <= 8 else most
    return {"I;16": 16, "I;16B": 16, "I;16L": 16, "I": 32, "F": 32}.get(image.mode, 8)


@lru_cache
def _decoder_turns(kind: str, backend: str, ignore: bool) -> bool:
    """Return whether a decoder turns files of a format: it decodes a tiny file."""
    if backend == "pillow":
        return not ignore
    if backend not in ("cv2", None):
        return False
    data, exif = io.BytesIO(), Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    try:
        Image.new("RGB", (16, 8)).save(data, kind, exif=exif)
    except (KeyError, OSError, ValueError):
        return False  # Pillow does not write the format
    flags = cv2.IMREAD_COLOR | (cv2.IMREAD_IGNORE_ORIENTATION if ignore else 0)
    decoded = cv2.imdecode(np.frombuffer(data.getvalue(), np.uint8), flags)
    return decoded is not None and decoded.shape[:2] == (16, 8)


def scale_deep(image: np.ndarray, bits: int | None, name: str) -> np.ndarray:
    """Return an image of 16 bits in 8 bits.

    Args:
        image: (H, W) or (H, W, 3) uint16.
        bits: The bits that the values have: 0 becomes 0, and 2**bits - 1 becomes 255. None: 16, if
            a value reaches :data:`DEEP`.
        name: The file's name in errors.

    Raises:
        ImageFileError: A value needs more bits; or ``bits`` is None and all values are small.
    """
    most = int(image.max(initial=0))
    if bits is None and most < DEEP:
        raise ImageFileError(
            f"image file {name} has 16 bits a value, but its largest value is {most}: say how many"
            " bits its values have, as in LoadImage(bits=12), or bits=16 for a dark image"
        )
    largest = 2 ** (bits or 16) - 1
    if most > largest:
        raise ImageFileError(
            f"image file {name} has the value {most}, but bits={bits} allows {largest} at most"
        )
    return np.round(image * (255 / largest)).astype(np.uint8)
