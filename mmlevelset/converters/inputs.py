"""Reading of published files. Each error is an InputError that names the file."""

from pathlib import Path

import numpy as np
from PIL import Image

from mmlevelset.converters.command_line import require
from mmlevelset.converters.names import check_name
from mmlevelset.errors import InputError

UNREADABLE = (OSError, SyntaxError, Image.DecompressionBombError)
"""Pillow's errors for files that are damaged, of another kind, or of too many pixels."""


def read_names(path: Path) -> list[str]:
    """Return the names in a list of images: the first word of each line.

    Raises:
        InputError: The list does not exist, or a name is no plain name of a file.
    """
    lines = require(path, "the list").read_text(errors="surrogateescape").splitlines()
    return [check_name(line.split()[0], path) for line in lines if line.strip()]


def read_image_size(path: Path, whole: bool = False) -> tuple[int, int]:
    """Return the width and the height of an image file.

    Args:
        path: The file.
        whole: Decode all of the file, to find truncated files.
    """
    try:
        with Image.open(require(path, "the image")) as image:
            if whole:
                image.load()
            return image.size
    except UNREADABLE as error:
        raise InputError(f"the image {path} cannot be read: {error}") from error


def read_label_map(path: Path) -> np.ndarray:
    """Return the labels (H, W) of an image file; a file with a palette gives its indices."""
    try:
        with Image.open(require(path, "the label map")) as image:
            labels = np.array(image)
    except UNREADABLE as error:
        raise InputError(f"the label map {path} cannot be read: {error}") from error
    if labels.ndim != 2:
        raise InputError(f"{path} is a picture of {labels.shape[2]} channels, not a label map")
    return labels


def read_mat(path: Path, *keys: str) -> np.ndarray:
    """Return an array of a MATLAB file.

    Args:
        path: The file.
        keys: The variable, then the fields that lead to the array.
    """
    from scipy.io import loadmat

    try:
        value = loadmat(require(path, "the annotation"), variable_names=keys[:1])[keys[0]]
        for key in keys[1:]:
            value = value[key][0, 0]
    except InputError:
        raise
    except Exception as error:  # a damaged file fails in many ways
        raise InputError(f"{path} holds no {'.'.join(keys)} that can be read: {error!r}") from error
    return value
