"""Writing of converted files. A file is complete or does not exist."""

import json
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from mmlevelset.files import write_bytes, write_text, write_whole
from mmlevelset.progress import Progress


def write_compact_json(path: Path, value: object) -> None:
    """Write a value as JSON without spaces: files of annotations are large."""
    write_text(path, json.dumps(value, separators=(",", ":")))


def write_names(path: Path, names: Sequence[str]) -> None:
    """Write a list of names, one in each line."""
    write_text(path, "".join(f"{name}\n" for name in names))
    print(f"{path}: {len(names)} names")


def write_image(path: Path, image: np.ndarray) -> None:
    """Write a grey (H, W) or RGB (H, W, 3) image, uint8, as a PNG file."""
    assert image.dtype == np.uint8 and image.shape[2:] in ((), (3,))
    pixels = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    data = cv2.imencode(".png", pixels)[1].tobytes()
    write_bytes(path, data)


def write_label_maps(
    jobs: Iterable[tuple[Path, Callable[[], np.ndarray]]], overwrite: bool = False
) -> None:
    """Write label maps as PNG files of 8 bits. Existing files are kept.

    Args:
        jobs: For each map its path, and a function that returns the map, (H, W) uint8.
        overwrite: Write existing files again.
    """
    jobs = list(jobs)
    todo = jobs if overwrite else [job for job in jobs if not job[0].exists()]
    with Progress(len(todo)) as progress:
        for path, make in todo:
            labels = make()
            assert labels.dtype == np.uint8 and labels.ndim == 2
            write_whole(path, partial(Image.fromarray(labels).save, format="PNG"))
            progress.update()
    print(f"wrote {len(todo)} label maps, {len(jobs) - len(todo)} were there already")
