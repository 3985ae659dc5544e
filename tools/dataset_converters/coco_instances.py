"""What the converters to COCO instances share: annotations, workers on all cores, restarts.

A converter cuts its work into parts (a scan, a large image). A worker writes the images of a part
and then, last, the part itself: ``OUT/.parts/NAME.json`` with COCO's ``images`` and ``annotations``
under ids that count within the part. When all parts are there they become one file of instances.
So an interrupted conversion goes on where it was, and no file is ever half written. A part is made
anew when the files that it was made from have changed.
"""

import argparse
import hashlib
import json
import multiprocessing
import multiprocessing.connection
import os
import shutil
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import cv2
import numpy as np
import pycocotools.mask as mask_utils
from conversion import InputError, require, run
from mmengine.utils import ProgressBar

from mmlevelset.files import write_whole

__all__ = [
    "InputError",
    "Parts",
    "add_options",
    "annotation",
    "check_counts",
    "convert_parts",
    "cores",
    "map_jobs",
    "require",
    "run",
    "save_image",
    "state_of",
    "whole_number",
    "write_instances",
    "write_json",
]

Job = TypeVar("Job")
Result = TypeVar("Result")


def write_json(path: Path, value: object) -> None:
    """Write a value as JSON; the file is whole or not there."""
    text = json.dumps(value, separators=(",", ":"))
    write_whole(path, lambda name: Path(name).write_text(text))


def save_image(path: Path, image: np.ndarray) -> None:
    """Write (H, W) or RGB (H, W, 3) uint8 as a PNG file, which is whole or not there."""
    assert image.dtype == np.uint8 and image.shape[2:] in ((), (3,))
    pixels = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    data = cv2.imencode(".png", pixels)[1].tobytes()
    write_whole(path, lambda name: Path(name).write_bytes(data))


def annotation(
    mask: np.ndarray, image_id: int, category_id: int, iscrowd: int = 0
) -> dict[str, Any] | None:
    """COCO's annotation of a mask, still without ``id``.

    Args:
        mask: (H, W) bool, the size of the image.
        image_id: id of the image.
        category_id: id of the category.
        iscrowd: 1 for a region that is not one object.

    Returns:
        ``segmentation`` (compressed run lengths), ``bbox`` (x, y, width, height), ``area`` in
        pixels, ``image_id``, ``category_id``, ``iscrowd``; None for an empty mask.
    """
    assert mask.ndim == 2 and mask.dtype == bool
    encoded = mask_utils.encode(np.asfortranarray(mask, np.uint8))
    area = int(mask_utils.area(encoded))
    if not area:
        return None
    return {
        "image_id": image_id,
        "category_id": category_id,
        "bbox": mask_utils.toBbox(encoded).tolist(),
        "area": area,
        "segmentation": {"size": list(mask.shape), "counts": encoded["counts"].decode("ascii")},
        "iscrowd": iscrowd,
    }


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0))


def map_jobs(
    function: Callable[[Job], Result],
    jobs: Iterable[Job],
    workers: int | None = None,
    name: Callable[[Job], str] = str,
) -> Iterator[Result]:
    """``function`` of each job in worker processes, in the jobs' order, with a progress bar.

    At most two jobs per worker wait or have results that are not taken yet. The first error
    cancels the jobs that wait.

    Args:
        function: of a module's top level (or a partial of one), so that it can be sent.
        jobs: its arguments.
        workers: number of processes, by default all cores; 1 is this process.
        name: what an error calls a job.

    Raises:
        InputError: as the function raised it, or where a worker died.
        RuntimeError: any other error of the function, with the job's name.
    """
    jobs = list(jobs)
    workers = min(cores() if workers is None else workers, len(jobs))
    if not jobs:
        return
    bar = ProgressBar(len(jobs), file=sys.stderr)
    for result in _results(function, jobs, workers, name):
        bar.update()
        yield result
    print(file=sys.stderr)


def _results(
    function: Callable[[Job], Result], jobs: list[Job], workers: int, name: Callable[[Job], str]
) -> Iterator[Result]:
    if workers == 1:
        for job in jobs:
            yield _named(partial(function, job), job, name)
        return
    # Not forked: a copy of a process with threads can hang.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, context, _start_worker)
    waiting = iter(jobs)
    pending: deque[tuple[Job, Future[Result]]] = deque()
    try:
        for job in islice(waiting, 2 * workers):
            pending.append((job, pool.submit(function, job)))
        while pending:
            job, future = pending[0]
            result = _named(future.result, job, name)
            pending.popleft()
            for job in islice(waiting, 1):
                pending.append((job, pool.submit(function, job)))
            yield result
    except BrokenProcessPool as error:
        lost = ", ".join(name(job) for job, _ in pending)
        raise InputError(
            f"a worker died, perhaps for want of memory (try fewer workers), at one of: {lost}"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _named(result: Callable[[], Result], job: Job, name: Callable[[Job], str]) -> Result:
    try:
        return result()
    except (InputError, BrokenProcessPool):
        raise
    except Exception as error:
        raise RuntimeError(f"{name(job)}: {error!r}") from error


def _start_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent stops the work
    cv2.setNumThreads(1)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def follow() -> None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


def add_options(parser: argparse.ArgumentParser, published: str) -> None:
    """Add the options of all converters.

    Args:
        parser: to add to.
        published: what is published, such as "131 scans".
    """
    parser.add_argument(
        "--workers", type=whole_number, metavar="N", help=f"processes (all cores: {cores()})"
    )
    parser.add_argument(
        "--allow-partial", action="store_true", help=f"convert less than the {published}"
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="forget the finished parts and begin anew"
    )


def whole_number(text: str) -> int:
    """The positive integer that a command line gives."""
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"must be a positive integer, not {text!r}")
    return int(text)


def state_of(*sources: object) -> str:
    """What tells whether sources have changed: of paths size and time, of all else the text."""
    digest = hashlib.sha256()
    for source in sources:
        if isinstance(source, Path):
            there = source.stat() if source.exists() else None
            source = there and (there.st_size, there.st_mtime_ns)
        digest.update(repr(source).encode())
    return digest.hexdigest()


def in_parts(split: str, images: Sequence[str], size: int) -> dict[str, list[str]]:
    """The images of a split by the part they belong to, SPLIT/NUMBER, as many in each."""
    starts = range(0, len(images), size)
    return {f"{split}/{start // size:04d}": list(images[start : start + size]) for start in starts}


def convert_parts(
    parts: "Parts",
    function: Callable[[tuple[str, Job]], dict],
    jobs: Mapping[str, Job],
    made_from: Callable[[Job], str],
    workers: int | None = None,
) -> None:
    """Make the parts that are not finished, or were made from something else.

    Args:
        parts: where they are.
        function: writes the images of a name and a job, as :func:`map_jobs` has it, and gives the
            part: what :meth:`Parts.write` takes.
        jobs: by the parts' names.
        made_from: the state of a job's sources, as :func:`state_of` has it.
        workers: number of processes, by default all cores.
    """
    states = {name: made_from(job) for name, job in jobs.items()}  # before anything is read
    todo = [
        (name, jobs[name], state)
        for name, state in states.items()
        if not parts.finished(name, state)
    ]
    if len(todo) < len(jobs):
        print(f"{len(jobs) - len(todo)} of {len(jobs)} parts were there already")
    changed = sum(parts.finished(name) for name, _, _ in todo)
    if changed:
        print(f"{changed} parts are made anew: what they were made from has changed")
    make = partial(_make_part, parts, function)
    for _ in map_jobs(make, todo, workers, name=lambda job: job[0]):
        pass


def _make_part(
    parts: "Parts",
    function: Callable[[tuple[str, Job]], dict],
    todo: tuple[str, Job, str],
) -> None:
    name, job, state = todo
    parts.write(name, **function((name, job)), state=state)


class Parts:
    """The finished parts of a conversion, and the options they were made with.

    Args:
        out: the folder that is converted to; the parts are in its ``.parts``.
        options: all that changes what is written. Parts made with others are an error.
        overwrite: remove the parts that are there and begin anew. Images stay until written again.

    Raises:
        InputError: the parts were made with other options.
    """

    def __init__(self, out: Path, options: Mapping[str, object], overwrite: bool = False) -> None:
        self.out = out
        self.folder = out / ".parts"
        if overwrite:
            shutil.rmtree(self.folder, ignore_errors=True)
        now = json.loads(json.dumps(options))
        stored = self.folder / ".options.json"
        if stored.exists():
            then = _read(stored)
            changed = sorted(key for key in {*then, *now} if then.get(key) != now.get(key))
            if changed:
                told = ", ".join(f"{k}: {then.get(k)} then, {now.get(k)} now" for k in changed)
                raise InputError(
                    f"{out} was begun with other options ({told}); take those, another folder, "
                    "or --overwrite"
                )
        else:
            write_json(stored, now)

    def path(self, name: str) -> Path:
        """Where the part is, or will be; ``name`` may have folders."""
        return self.folder / f"{name}.json"

    def write(
        self,
        name: str,
        images: Sequence[dict],
        annotations: Sequence[dict],
        notes: Sequence[str] = (),
        state: str | None = None,
        **more: object,
    ) -> None:
        """Write a part, whose images must have been written.

        Args:
            name: the part.
            images: COCO's, with ids that are unique within the part and ``file_name`` seen from
                the folder that the part's name begins with: ``x.png`` of the part ``train/a`` is
                ``OUT/train/x.png``.
            annotations: COCO's, without ``id``.
            notes: what the user should know, told when all is converted.
            state: of what it was made from.
            more: kept with the part.
        """
        content = {"images": images, "annotations": annotations, "notes": notes, "state": state}
        write_json(self.path(name), content | more)

    def finished(self, name: str, state: str | None = None) -> bool:
        """Whether the part and all its images are there, made from this state if one is given."""
        if not self.path(name).exists():
            return False
        part = _read(self.path(name))
        folder = self.out / Path(name).parts[0]
        same = state is None or part.get("state") == state
        return same and all((folder / image["file_name"]).exists() for image in part["images"])

    def read(self, names: Iterable[str]) -> Iterator[dict]:
        """The parts of these names, one by one."""
        for name in names:
            yield _read(require(self.path(name), "the part"))


def _read(path: Path) -> dict:
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise InputError(f"{path} is damaged ({error}); remove it") from error


def write_instances(
    path: Path, parts: Iterable[dict], categories: Sequence[dict], **more: object
) -> tuple[int, int]:
    """Write COCO's file of instances, numbering images and annotations from 1.

    Args:
        path: the file.
        parts: as :meth:`Parts.read` gives them; one is in memory at a time.
        categories: COCO's.
        more: other keys of the file, such as ``info``.

    Returns:
        The numbers of images and of annotations.
    """
    images: list[dict] = []
    count = 0

    def write(name: str) -> None:
        nonlocal count
        with open(name, "w") as file:
            file.write('{"annotations":[')
            for part in parts:
                ids = {}
                for note in part.get("notes", ()):
                    print(f"note: {note}", file=sys.stderr)
                for image in part["images"]:
                    ids[image["id"]] = len(images) + 1
                    images.append({**image, "id": len(images) + 1})
                for found in part["annotations"]:
                    count += 1
                    numbered = {**found, "id": count, "image_id": ids[found["image_id"]]}
                    file.write(",\n" if count > 1 else "\n")
                    json.dump(numbered, file, separators=(",", ":"))
            rest = json.dumps({"images": images, "categories": list(categories), **more})
            file.write("],\n" + rest[1:])

    write_whole(path, write)
    print(f"{path}: {len(images)} images, {count} instances")
    return len(images), count


def check_counts(what: str, found: int, published: int, allow_partial: bool = False) -> None:
    """Compare a number with the published one; a mismatch is an error, or only told.

    Raises:
        InputError: they differ, and ``allow_partial`` is False.
    """
    if found == published:
        return
    told = f"{what}: {found} found, {published} published"
    if not allow_partial:
        raise InputError(f"{told}; --allow-partial converts what there is")
    print(f"warning: {told}", file=sys.stderr)
