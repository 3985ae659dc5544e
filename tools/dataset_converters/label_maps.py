"""What the converters of label maps share: reading maps of several kinds, writing PNG files."""

import sys
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from conversion import InputError, require, run
from mmengine.utils import track_iter_progress
from PIL import Image

from mmlevelset.files import write_whole

__all__ = [
    "InputError",
    "convert",
    "read_label_map",
    "read_mat",
    "read_names",
    "require",
    "run",
    "write_names",
]


def read_names(path: Path) -> list[str]:
    """The names in a list of images, the first word of each line."""
    lines = require(path, "the list").read_text().splitlines()
    return [line.split()[0] for line in lines if line.strip()]


def read_label_map(path: Path) -> np.ndarray:
    """The labels (H, W) of an image file; those with a palette give their indices."""
    try:
        with Image.open(require(path, "the label map")) as image:
            labels = np.array(image)
    except (OSError, SyntaxError) as error:
        raise InputError(f"the label map {path} cannot be read: {error}") from error
    if labels.ndim != 2:
        raise InputError(f"{path} is a picture of {labels.shape[2]} channels, not a label map")
    return labels


def read_mat(path: Path, *keys: str) -> np.ndarray:
    """An array of a MATLAB file, ``keys`` being the variable and the fields down to it."""
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


def write_names(path: Path, names: Sequence[str]) -> None:
    """Write a list of names, one in each line."""
    text = "".join(f"{name}\n" for name in names)
    write_whole(path, lambda name: Path(name).write_text(text))
    print(f"{path}: {len(names)} names")


def convert(jobs: Iterable[tuple[Path, Callable[[], np.ndarray]]], overwrite: bool = False) -> None:
    """Write label maps as PNG files of 8 bits, those that are there already left as they are.

    Args:
        jobs: for each map its path and what makes it, (H, W) uint8.
        overwrite: write those too that are there.
    """
    jobs = list(jobs)
    todo = jobs if overwrite else [job for job in jobs if not job[0].exists()]
    for path, make in track_iter_progress(todo, file=sys.stderr):
        labels = make()
        assert labels.dtype == np.uint8 and labels.ndim == 2
        write_whole(path, partial(Image.fromarray(labels).save, format="PNG"))
    print(f"\nwrote {len(todo)} label maps, {len(jobs) - len(todo)} were there already")
