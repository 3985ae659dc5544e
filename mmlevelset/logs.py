"""What mmengine logs of a run: ``<work dir>/<time>/vis_data/scalars.json``."""

import json
from collections.abc import Sequence
from os import PathLike
from pathlib import Path

Log = str | PathLike | Sequence[str | PathLike]


def log_files(work_dir: Path) -> list[Path]:
    """The logs in a work dir, one for each start of a training or a test, by time."""
    return sorted(work_dir.glob("*/vis_data/scalars.json"))


def read_log(paths: Log) -> tuple[list[dict], list[dict]]:
    """Read ``vis_data/scalars.json`` of a run, or of the runs that resumed each other.

    Args:
        paths: one file, or several in the order of time. A later one takes over from its first
            step: what earlier ones say about that step and later ones is dropped. A file without
            a training step, as a test run writes it, is left out.

    Returns:
        The records of training, and those of validation, each by step.

    Raises:
        ValueError: a line is not JSON, or no file holds a training step. The last line may be
            cut off, as a killed run leaves it.
    """
    files = [paths] if isinstance(paths, str | PathLike) else list(paths)
    training: list[dict] = []
    validation: list[dict] = []
    for file in files:
        records = read_records(Path(file))
        if not any("loss" in record for record in records):
            continue
        for kept, is_training in ((training, True), (validation, False)):
            new = [record for record in records if ("loss" in record) == is_training]
            if new:
                start = min(record["step"] for record in new)
                kept[:] = [record for record in kept if record["step"] < start] + new
    if not training:
        raise ValueError(f"no training step in {', '.join(map(str, files)) or 'no file'}")
    return training, validation


def read_records(path: Path) -> list[dict]:
    """The records of one log, the last line left out where it is cut off.

    Raises:
        ValueError: another line is not JSON.
    """
    lines = path.read_text().split("\n")
    records = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            records.append(json.loads(line))
        except json.JSONDecodeError as error:
            if number == len(lines):
                break
            raise ValueError(f"{path}, line {number}: not JSON ({error.msg})") from error
    return records
