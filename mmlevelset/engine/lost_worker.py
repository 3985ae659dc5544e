"""The image that a data loader's worker was reading when it was killed."""

import mmap
import os
import re
from typing import Any

from mmengine.dataset import Compose
from mmengine.runner import Runner
from torch.utils.data import DataLoader

_SLOTS, _BYTES = 1024, 1024
# Workers are forks of this process, so they share these pages. A worker that is killed for lack of
# memory can say nothing more, and what it wrote here stays.
_notes = mmap.mmap(-1, _SLOTS * _BYTES)
_KILLED = re.compile(r"DataLoader worker \(pid(?:\(s\))? ([\d, ]+)\)")


def _note(text: str) -> None:
    """Write a text into the slot of this process."""
    start = os.getpid() % _SLOTS * _BYTES
    content = f"{os.getpid()} {text}".encode(errors="surrogateescape")[: _BYTES - 1]
    _notes[start : start + len(content) + 1] = content + b"\0"


def images_of_killed_workers(message: str) -> list[str]:
    """Return the images that killed workers were reading.

    Args:
        message: The error of torch's ``DataLoader``, with the process ids of the workers.
    """
    found = _KILLED.search(message)
    images = []
    for pid in re.findall(r"\d+", found[1]) if found else ():
        start = int(pid) % _SLOTS * _BYTES
        content = _notes[start : start + _BYTES].split(b"\0")[0].decode(errors="surrogateescape")
        owner, _, image = content.partition(" ")
        if owner == pid and image:
            images.append(image)
    return images


class _Noting(Compose):
    """A pipeline that notes the image while it works."""

    def __init__(self, pipeline: Compose) -> None:
        self.transforms = pipeline.transforms

    def __call__(self, data: dict) -> Any:
        _note(str(data.get("img_path") or f"image {data.get('img_id')}"))
        result = super().__call__(data)
        _note("")
        return result


def note_images(runner: Runner) -> None:
    """Let the data sets of a runner note the images, for :func:`images_of_killed_workers`.

    A data set that a hook gives another pipeline during the training notes no more images.
    """
    build = runner.build_dataloader

    def build_noting(*args: Any, **settings: Any) -> DataLoader:
        loader = build(*args, **settings)
        _watch(loader.dataset)
        return loader

    # A loop builds its loader, and some loops start the workers, before the first hook.
    runner.build_dataloader = build_noting


def _watch(dataset: Any) -> None:
    pipeline = getattr(dataset, "pipeline", None)
    if type(pipeline) is Compose:
        dataset.pipeline = _Noting(pipeline)
    inner = getattr(dataset, "datasets", None) or [getattr(dataset, "dataset", None)]
    for part in inner:
        if part is not None:
            _watch(part)
