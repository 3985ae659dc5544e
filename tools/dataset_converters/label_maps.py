"""What the converters of label maps share: checked input, files that are whole or not there."""

import os
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from mmengine.utils import track_iter_progress
from PIL import Image


class InputError(Exception):
    """Something is wrong with the files to convert; the message names it."""


def require(path: Path, what: str) -> Path:
    """The path, which must exist."""
    if not path.exists():
        raise InputError(f"{what} {path} does not exist")
    return path


def read_names(path: Path) -> list[str]:
    """The names in a list of images, the first word of each line."""
    return [line.split()[0] for line in require(path, "the list").read_text().splitlines() if line]


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
    _write(path, lambda name: Path(name).write_text(text))
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
        _write(path, partial(Image.fromarray(labels).save, format="PNG"))
    print(f"\nwrote {len(todo)} label maps, {len(jobs) - len(todo)} were there already")


def run(main: Callable[[], None]) -> None:
    """Call ``main``; what is wrong with the input ends it with one line."""
    try:
        main()
    except InputError as error:
        sys.exit(f"{Path(sys.argv[0]).name}: error: {error}")


def _write(path: Path, write: Callable[[str], object]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, unfinished = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    os.close(handle)
    try:
        write(unfinished)
        os.chmod(unfinished, 0o644)  # mkstemp's own mode shuts out other users
        os.replace(unfinished, path)
    except BaseException:
        os.unlink(unfinished)
        raise
