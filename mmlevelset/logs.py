"""The files that mmengine writes about a run, in ``<work dir>/<time>``.

A training writes ``vis_data/scalars.json``, a test writes ``<time>.json``.
"""

import json
import re
from collections.abc import Sequence
from os import PathLike
from pathlib import Path

from mmlevelset.files import whole_number

Log = str | PathLike | Sequence[str | PathLike]


def log_files(work_dir: Path) -> list[Path]:
    """Return the logs in a work dir by time, one for each start of a training."""
    return sorted(work_dir.glob("*/vis_data/scalars.json"))


def test_files(work_dir: Path) -> list[Path]:
    """Return the files with the scores of test runs in a work dir, by time."""
    return sorted(
        path
        for path in work_dir.glob("*/*.json")
        if path.stem == path.parent.name and re.fullmatch(r"\d{8}_\d{6}", path.stem)
    )


def read_log(paths: Log) -> tuple[list[dict], list[dict]]:
    """Return the records of a training, from the logs of all its starts.

    Args:
        paths: one file, or several in the order of time. A later file replaces the records of
            earlier files from its first step on. A file without a training step is left out.

    Returns:
        The records of training and the records of validation, each by step.

    Raises:
        ValueError: a line is no record, or no file holds a training step. The last line of a file
            may be cut off, as a killed run leaves it.
    """
    files = [paths] if isinstance(paths, str | PathLike) else list(paths)
    return join_records({str(file): read_records(Path(file)) for file in files})


def join_records(logs: dict[str, list[dict]]) -> tuple[list[dict], list[dict]]:
    """Return the records of a training as :func:`read_log` does, from file -> its records."""
    training: list[dict] = []
    validation: list[dict] = []
    for records in logs.values():
        if not any("loss" in record for record in records):
            continue
        for kept, is_training in ((training, True), (validation, False)):
            new = [record for record in records if ("loss" in record) == is_training]
            if new:
                start = min(record["step"] for record in new)
                kept[:] = [record for record in kept if record["step"] < start] + new
    if not training:
        raise ValueError(f"no training step in {', '.join(logs) or 'no file'}")
    return training, validation


def read_records(path: Path) -> list[dict]:
    """Return the records of one log, without a last line that is cut off.

    Raises:
        ValueError: another line is not JSON, or is no record with a number ``step``.
    """
    try:
        lines = path.read_text().split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} cannot be read: {error}") from error
    records = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            records[number] = json.loads(line, parse_int=whole_number)
        except (json.JSONDecodeError, RecursionError) as error:
            if number == len(lines):
                break
            raise ValueError(f"{path}, line {number}: not JSON ({error})") from error
    for number, record in records.items():
        if not isinstance(record, dict) or not isinstance(record.get("step"), int | float):
            if number == len(lines):  # a number that is cut off is JSON too
                del records[number]
                break
            raise ValueError(f"{path}, line {number}: must be a record with a step")
    return list(records.values())


def evaluation_at(work_dir: Path, step: int) -> dict | None:
    """Return the last record of an evaluation after a step of training; None without one.

    Raises:
        ValueError: As in :func:`read_records`.
    """
    for log in reversed(log_files(work_dir)):
        for record in reversed(read_records(log)):
            if "loss" not in record and record["step"] == step:
                return record
    return None
