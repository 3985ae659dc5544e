"""Conversions in parts: an interrupted conversion goes on where it was.

A converter cuts its work into parts (a scan, a large image). A worker writes the images of a part
first, and the part itself last: ``OUT/.parts/NAME.json`` with COCO's ``images`` and
``annotations``, under ids that count within the part. When all parts are there,
:func:`~mmlevelset.converters.coco_layout.write_instances` makes one file of them. So an interrupted
conversion goes on where it was, and no file is ever half written. A part is made again when the
files that it was made from have changed.
"""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from mmlevelset.converters.command_line import require
from mmlevelset.converters.names import below
from mmlevelset.converters.outputs import write_compact_json
from mmlevelset.errors import InputError
from mmlevelset.workers import Job, map_jobs


class Parts:
    """The finished parts of a conversion, and the options that they were made with.

    Args:
        out: The folder that is converted to; the parts are in its ``.parts``.
        options: All options that change the written files.
        overwrite: Remove the finished parts and begin anew. Images stay until written again.

    Raises:
        InputError: The finished parts were made with other options.
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
                changes = ", ".join(f"{k}: {then.get(k)} then, {now.get(k)} now" for k in changed)
                raise InputError(
                    f"{out} was begun with other options ({changes}); use these options,"
                    " another folder, or --overwrite"
                )
        else:
            write_compact_json(stored, now)

    def path(self, name: str) -> Path:
        """Return the file of the part; ``name`` may have folders."""
        return below(self.folder, f"{name}.json")

    def write(
        self,
        name: str,
        images: Sequence[dict],
        annotations: Sequence[dict],
        notes: Sequence[str] = (),
        state: str | None = None,
        **more: object,
    ) -> None:
        """Write a part. Its images must have been written before.

        Args:
            name: Name of the part. It begins with the folder of its images.
            images: COCO's images, with ids that are unique within the part. ``file_name`` is
                relative to the folder: ``x.png`` of the part ``train/a`` is ``OUT/train/x.png``.
            annotations: COCO's annotations, without ``id``.
            notes: Messages for the user, printed when all is converted.
            state: State of the sources; see :func:`state_of`.
            more: Other values to keep with the part.
        """
        content = {"images": images, "annotations": annotations, "notes": notes, "state": state}
        write_compact_json(self.path(name), content | more)

    def finished(self, name: str, state: str | None = None) -> bool:
        """Return whether the part and all its images exist, made from this state if it is given."""
        if not self.path(name).exists():
            return False
        part = _read(self.path(name))
        folder = self.out / Path(name).parts[0]
        same = state is None or part.get("state") == state
        return same and all((folder / image["file_name"]).exists() for image in part["images"])

    def read(self, names: Iterable[str]) -> Iterator[dict]:
        """Yield the parts with these names."""
        for name in names:
            yield _read(require(self.path(name), "the part"))


def _read(path: Path) -> dict:
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise InputError(f"{path} is damaged ({error}); remove it") from error


def convert_parts(
    parts: Parts,
    function: Callable[[tuple[str, Job]], dict],
    jobs: Mapping[str, Job],
    made_from: Callable[[Job], str],
    workers: int | None = None,
) -> None:
    """Make the parts that are not finished, or were made from other sources.

    Args:
        parts: The parts of the conversion.
        function: Takes a name and a job. It writes the images and returns the keyword arguments of
            :meth:`Parts.write`. Workers run it; see
            :func:`~mmlevelset.workers.map_jobs`.
        jobs: The jobs by the names of their parts.
        made_from: Returns the state of a job's sources; see :func:`state_of`.
        workers: Number of processes, by default all cores.
    """
    states = {name: made_from(job) for name, job in jobs.items()}  # before any source is read
    todo = [
        (name, jobs[name], state)
        for name, state in states.items()
        if not parts.finished(name, state)
    ]
    if len(todo) < len(jobs):
        print(f"{len(jobs) - len(todo)} of {len(jobs)} parts were there already")
    changed = sum(parts.finished(name) for name, _, _ in todo)
    if changed:
        print(f"{changed} parts are made again: their sources have changed")
    make = partial(_make_part, parts, function)
    for _ in map_jobs(make, todo, workers, name=lambda job: job[0]):
        pass


def _make_part(
    parts: Parts, function: Callable[[tuple[str, Job]], dict], todo: tuple[str, Job, str]
) -> None:
    name, job, state = todo
    parts.write(name, **function((name, job)), state=state)


def state_of(*sources: object) -> str:
    """Return a digest that changes when a source changes.

    Args:
        sources: For a path, its size and time count; for any other value, its ``repr``.
    """
    digest = hashlib.sha256()
    for source in sources:
        if isinstance(source, Path):
            stat = source.stat() if source.exists() else None
            source = stat and (stat.st_size, stat.st_mtime_ns)
        digest.update(repr(source).encode())
    return digest.hexdigest()


def in_parts(split: str, images: Sequence[str], size: int) -> dict[str, list[str]]:
    """Return the images of a split by their part, SPLIT/NUMBER, ``size`` images in each part."""
    starts = range(0, len(images), size)
    return {f"{split}/{start // size:04d}": list(images[start : start + size]) for start in starts}


def large_first(paths: Mapping[str, Path]) -> list[str]:
    """Return the names, the largest files first, so that the cores finish together."""
    return sorted(paths, key=lambda name: -paths[name].stat().st_size)
