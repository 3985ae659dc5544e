"""The photographs of the page: files of strangers, read with limits, and samples."""

from __future__ import annotations

import importlib.util
import io
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageOps

from mmlevelset.errors import InputError

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "PPM")
"""The formats that the page reads, by their content. The name of a file says nothing."""
MOST_BYTES = 50_000_000
"""The largest file."""
MOST_PIXELS = 64_000_000
"""The largest image; it is decoded, then reduced. Below the size that Pillow warns of."""
MOST_RATIO = 100
"""The largest ratio of the two sides."""
SAMPLES = ("coins", "camera", "astronaut", "coffee", "chelsea", "microaneurysms", "page", "horse")
"""Images that scikit-image installs."""


class Photograph(NamedTuple):
    """A photograph as the page works on it.

    Attributes:
        pixels: (H, W, 3) uint8, RGB.
        full_size: Height and width of the file's image, turned as its EXIF data says.
    """

    pixels: np.ndarray
    full_size: tuple[int, int]


def samples() -> dict[str, Path]:
    """Return the sample images by their names; none without scikit-image."""
    found = importlib.util.find_spec("skimage")
    if found is None or not found.submodule_search_locations:
        return {}
    folder = Path(found.submodule_search_locations[0], "data")
    files = {name: folder / f"{name}.png" for name in SAMPLES}
    return {name: path for name, path in files.items() if path.is_file()}


def read_photograph(path: Path, longest: int) -> Photograph:
    """Read an image file, and reduce it.

    Of an animation or a file of several pages, the first image is read. Transparent pixels become
    white. Values of more than eight bits are scaled from their range in the image to 0..255.

    Args:
        path: The file, of any name.
        longest: The longer side after the reduction, in pixels. Smaller images keep their size.

    Raises:
        InputError: The file is no image of :data:`FORMATS`, is incomplete or too large. The message
            is a sentence for the page, without the name of the file.
    """
    size = path.stat().st_size
    if size > MOST_BYTES:
        raise InputError(
            f"The file must have at most {MOST_BYTES // 10**6} MB, and has {size / 1e6:.0f} MB."
        )
    if not size:
        raise InputError("The file is empty.")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about odd metadata; the limits are checked below
        image = _opened(path)
        with image:
            width, height = image.size
            _check_size(width, height)
            image.draft("RGB", (longest, longest))  # JPEG: decode a small version at once
            drafted = image.size
            _decoded(image.load)  # first, because Pillow turns a TIFF file by itself
            turned = _decoded(lambda: ImageOps.exif_transpose(image))
            if turned.size != drafted:
                width, height = height, width
            pixels = _decoded(lambda: _as_rgb(turned))
    scale = longest / max(width, height)
    if scale < 1:
        small = (max(1, round(width * scale)), max(1, round(height * scale)))
        if pixels.size != small:
            pixels = pixels.resize(small, Image.Resampling.LANCZOS, reducing_gap=2.0)
    return Photograph(np.asarray(pixels), (height, width))


def _opened(path: Path) -> Image.Image:
    known = ", ".join(FORMATS)
    try:
        # Not from the path: Pillow does not turn a TIFF file that it maps into memory.
        return Image.open(io.BytesIO(path.read_bytes()), formats=FORMATS)
    except Image.DecompressionBombError:
        raise InputError(_too_large("more than twice as many")) from None
    except Exception as error:  # the readers of odd files raise whatever they meet
        raise InputError(f"The file is no image that can be read ({known}).") from error


def _check_size(width: int, height: int) -> None:
    if width * height > MOST_PIXELS:
        raise InputError(_too_large(f"{width} x {height}"))
    if not MOST_RATIO * min(width, height) >= max(width, height):
        raise InputError(
            f"One side may be at most {MOST_RATIO} times as long as the other, but the image has"
            f" {width} x {height} pixels."
        )


def _too_large(has: str) -> str:
    return f"The image must have at most {MOST_PIXELS // 10**6} million pixels, and has {has}."


def _decoded(decode: Callable[[], Any]) -> Any:
    try:
        return decode()
    except InputError:
        raise
    except Exception as error:
        raise InputError("The image is damaged or incomplete: it cannot be decoded.") from error


def _as_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith(("I", "F")):
        values = np.asarray(image, np.float64)
        if not np.isfinite(values).all():
            raise InputError("The values of the image must be finite, but some are not.")
        spread = np.ptp(values) or 1.0
        image = Image.fromarray(((values - values.min()) * (255 / spread)).round().astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return image.convert("RGB")
