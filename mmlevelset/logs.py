"""The files that mmengine writes about a run, in ``<work dir>/<time>``.

A training writes ``vis_data/scalars.json``, a test writes ``<time>.json``.
"""

import json
import re
from collections.abc import Sequence
from os import PathLike
from pathlib import Path

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
        ValueError: a line is not JSON, or no file holds a training step. The last line of a file
            may be cut off, as a killed run leaves it.
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
    """Return the records of one log, without a last line that is cut off.

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
