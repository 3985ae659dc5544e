"""Runs in work dirs: their names, and the record of a run's logs."""

from __future__ import annotations

import math
import re
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmlevelset.errors import InputError
from mmlevelset.experiments.scores import as_shown
from mmlevelset.files import read_json
from mmlevelset.logs import join_records, log_files, read_records, test_files

SEED = re.compile(r"_seed(\d+)$")
NO_SCORES = {"time", "data_time", "step", "iter", "epoch", "lr", "base_lr", "memory"}
"""Numbers that mmengine logs beside the scores of an evaluation."""
ENVIRONMENT = {"Python": "python", "PyTorch": "torch", "MMEngine": "mmengine"}
"""Names of versions in mmengine's text log, and in a record."""


def run_name(variant: str, seed: int) -> str:
    """Return the name of a run's folder."""
    return f"{variant}_seed{seed}"


def variant_of(name: str) -> str:
    """Return the name of a run's folder without its seed."""
    return SEED.sub("", name)


def seed_of(name: str) -> int | None:
    """Return the seed in the name of a run's folder; None if the name has no seed."""
    found = SEED.search(name)
    return int(found[1]) if found else None


def latest_checkpoint(work_dir: Path) -> Path:
    """Return the newest whole checkpoint of a work dir, also after the work dir was moved.

    A note on stderr names the newer checkpoints that are not whole, and a checkpoint of another
    folder that ``last_checkpoint`` names. It counts only if the work dir has none of its own.

    Raises:
        InputError: there is none.
    """
    from mmlevelset.engine.checkpoint import is_whole, newest_whole

    broken: list[Path] = []
    for template in ("epoch_{}.pth", "iter_{}.pth"):
        newest, damaged = newest_whole(work_dir, template)
        broken += damaged
        if newest is not None:
            for path in damaged:
                print(f"{path} is not whole: {newest.name} is taken", file=sys.stderr)
            return newest
    # The config may give checkpoints another name or another folder.
    note = work_dir / "last_checkpoint"
    named = Path(note.read_text(errors="replace").strip() or "-") if note.is_file() else None
    for path in (work_dir / named.name, named) if named is not None else ():
        own = path.parent.resolve() == work_dir.resolve()
        if (own or not broken) and is_whole(path):
            if not own:
                print(f"{note} names {path}, of another folder: it is taken", file=sys.stderr)
            return path
    reason = f"; last_checkpoint names {named}" if named is not None else ""
    if broken:
        reason = f" that is whole ({', '.join(path.name for path in broken)})"
    raise InputError(f"the work dir {work_dir} holds no checkpoint{reason}")


@dataclass
class RunRecord:
    """The record of a run, read from its work dir.

    Attributes:
        work_dir: the folder.
        checkpoints: the folder of the run's checkpoints. For an evaluation in a sweep, this is the
            folder of the evaluated run.
        variant: the name that the run shares with the runs of other seeds.
        name: unique among the runs that are read together.
        newest: the folder of the newest training, or of the newest test if there is no training.
        training, validation: the log's records by step; empty for a test alone.
        scores: the scores of the last evaluation, in percent; the names are without ``coco/``.
        classes: class -> AP or IoU in percent; empty if classes were not evaluated.
        config: mmengine's config; None without one. :func:`read_settings` fills in ``config``,
            ``config_name``, ``seed``, ``started`` and ``environment``.
        notes: the parts that the record lacks, each with the reason.
    """

    work_dir: Path
    checkpoints: Path
    variant: str = ""
    name: str = ""
    newest: Path | None = None
    training: list[dict] = field(default_factory=list)
    validation: list[dict] = field(default_factory=list)
    scores: dict[str, float] = field(default_factory=dict)
    classes: dict[str, float] = field(default_factory=dict)
    config: Any = None
    config_name: str = ""
    seed: str = ""
    started: str = ""
    environment: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def iterations(self) -> int | None:
        """The last iteration of the training that was logged."""
        return self.training[-1]["step"] if self.training else None

    @property
    def seconds(self) -> float | None:
        """The median time of an iteration."""
        times = [record["time"] for record in self.training if "time" in record]
        return statistics.median(times) if times else None

    def take_scores(self, logged: Mapping[str, Any]) -> None:
        """Take the scores that an evaluation logged, without unknown scores (-1, NaN)."""
        for key, value in logged.items():
            name = key.removeprefix("coco/")
            if name in NO_SCORES or not isinstance(value, int | float):
                continue
            percent = as_shown(key, value)
            if not math.isfinite(percent):
                continue
            if name.endswith("_precision"):
                if not name.startswith("initial_"):
                    self.classes[name.removesuffix("_precision")] = percent
            else:
                self.scores[name] = percent


def read_runs(work_dirs: Sequence[Path]) -> tuple[list[RunRecord], list[str]]:
    """Return the records of the runs in folders, and a line for each other folder.

    A folder without a log, or with a broken file, is left out.

    Raises:
        InputError: a path does not exist, or no folder holds a whole log.
    """
    records, left_out = [], []
    for work_dir in {path.absolute(): path for path in work_dirs}.values():
        if not work_dir.exists():
            raise InputError(f"the work dir {work_dir} does not exist")
        if not work_dir.is_dir() or work_dir.name == "submitit":  # its logs, in a sweep's folder
            continue
        try:
            record = read_run(work_dir)
            if record is not None:
                records.append(record)
                continue
            left_out.append(f"{work_dir} holds no log of a training or an evaluation")
            failed = work_dir / "failed.json"
            if failed.is_file():
                left_out[-1] += f"; it failed: {read_json(failed).get('message')}"
        except InputError as error:
            left_out.append(str(error))
    if not records:
        reason = "; ".join(left_out) or "no folder was given"
        raise InputError(f"{reason} (looked for */vis_data/scalars.json and result.json)")
    _name(records)
    return records, left_out


def read_run(work_dir: Path) -> RunRecord | None:
    """Return the record of the run in a work dir; None if nothing was logged there.

    The scores come from a sweep's result.json, or else from the last evaluation.

    Raises:
        InputError: a log or another file of the run is broken.
    """
    logs = log_files(work_dir)
    try:
        records = {log: read_records(log) for log in logs}
    except ValueError as error:
        raise InputError(str(error)) from error
    trainings = [log for log in logs if any("loss" in record for record in records[log])]
    evaluations = {
        log.parent.parent.name: record
        for log in logs
        for record in records[log]
        if "loss" not in record and record.keys() - NO_SCORES
    }
    tests = test_files(work_dir)
    evaluations |= {path.stem: read_json(path) for path in tests}
    result = work_dir / "result.json"
    if not trainings and not evaluations and not result.is_file():
        return None
    run = RunRecord(work_dir, _checkpoints(work_dir), variant_of(work_dir.name), work_dir.name)
    if trainings:
        run.newest = trainings[-1].parent.parent
        run.training, run.validation = join_records({str(log): records[log] for log in trainings})
    else:
        run.newest = tests[-1].parent if tests else None
        run.notes.append("no log of a training: no curves")
    if result.is_file():
        found = read_result(result)
        run.take_scores(found["metrics"])
        run.environment = dict(found["environment"])
    elif evaluations:
        run.take_scores(evaluations[max(evaluations)])
    if not run.scores:
        run.notes.append("no evaluation in the log: no scores")
    return run


OF_A_SWEEP = dict(fingerprint=str, seconds=(int, float), finished=str, environment=dict)
"""The entries of result.json that a sweep reads beside the metrics, with their types."""


def read_result(path: Path, of_a_sweep: bool = False) -> dict[str, Any]:
    """Return the content of a run's result.json, with ``metrics`` and ``environment``.

    Args:
        path: the file.
        of_a_sweep: the file must have all entries of :data:`OF_A_SWEEP`.

    Raises:
        InputError: the file is broken, or lacks an entry.
    """
    result = {"environment": {}, **read_json(path)}
    entries: dict[str, Any] = dict(metrics=dict, environment=dict) | (
        OF_A_SWEEP if of_a_sweep else {}
    )
    for key, kind in entries.items():
        if not isinstance(result.get(key), kind):
            raise InputError(f"{path}: {key} is missing, or is {result.get(key)!s:.40}")
    for key, value in result["metrics"].items():
        if not isinstance(value, int | float):
            raise InputError(f"{path}: metrics.{key} must be a number, and is {value!s:.40}")
    return result


def _checkpoints(work_dir: Path) -> Path:
    task = work_dir / "run.json"
    if task.is_file():
        settings = read_json(task)
        # A command may change the predictions, so its scores are not the scores of the checkpoint.
        source = settings.get("source")
        if source is not None and not isinstance(source, str):
            raise InputError(f"{task}: source must be a text or null, and is {source!s:.40}")
        if source and not settings.get("command"):
            return work_dir.absolute().parent / source
    return work_dir


def read_settings(run: RunRecord) -> None:
    """Fill in the config, the seed, the start, the versions and the hardware of a run."""
    _read_config(run)
    if run.newest is not None:
        _read_text_log(run, run.newest)


def _read_config(run: RunRecord) -> None:
    from mmengine.config import Config

    written = sorted(run.work_dir.glob("*.py"), key=lambda path: path.stat().st_mtime)
    run.config_name = written[-1].name if written else ""
    files = [run.newest / "vis_data/config.py"] if run.newest is not None else []
    files = [path for path in [*files, *reversed(written)] if path.is_file()]
    if not files:
        run.notes.append("no config in the work dir: not compared with others")
        return
    try:
        run.config = Config.fromfile(files[0])
    except Exception as error:
        run.notes.append(f"{files[0]} cannot be read ({error}): not compared with others")
        return
    seed = run.config.get("randomness", {}).get("seed")
    run.seed = "" if seed is None else str(seed)


def _read_text_log(run: RunRecord, folder: Path) -> None:
    """Read the seed, the versions and the device from the head of mmengine's text log."""
    found = re.fullmatch(r"(\d{4})(\d\d)(\d\d)_(\d\d)(\d\d)\d\d", folder.name)
    if found:
        run.started = "{}-{}-{} {}:{}".format(*found.groups())
    log = folder / f"{folder.name}.log"
    if not log.is_file():
        return
    with log.open(errors="replace") as file:
        head = [line for line, _ in zip(file, range(150), strict=False)]
    values: dict[str, str] = {}
    for line in head:
        entry = re.match(r"\s+(Python|PyTorch|MMEngine|CUDA available|GPU [\d,]+|seed): (.+)", line)
        if entry:
            values.setdefault(entry[1], entry[2].strip())
    run.seed = run.seed or values.get("seed", "")
    gpus = [value for key, value in values.items() if key.startswith("GPU")]
    if not run.environment:
        run.environment = {
            name: values[key].split()[0] for key, name in ENVIRONMENT.items() if key in values
        }
        if gpus or "CUDA available" in values:
            run.environment["hardware"] = ", ".join(gpus) or "CPU"


def _name(runs: Sequence[RunRecord]) -> None:
    """Name runs by their folders, with enough parts of the path to make the names unique."""
    steps = [run.work_dir.absolute().parts for run in runs]
    for depth in range(1, max(map(len, steps)) + 1):
        names = ["/".join(parts[-depth:]) for parts in steps]
        variants = [variant_of(name) for name in names]
        # Runs of one variant lie in one folder: equal names in other folders are other variants.
        places = {(name, parts[:-1]) for name, parts in zip(variants, steps, strict=True)}
        if len(places) == len(set(variants)):
            break
    for run, name, variant in zip(runs, names, variants, strict=True):
        run.name, run.variant = name, variant


def by_variant(runs: Sequence[RunRecord]) -> dict[str, list[RunRecord]]:
    """Return the runs of each variant."""
    variants: dict[str, list[RunRecord]] = {}
    for run in runs:
        variants.setdefault(run.variant, []).append(run)
    return variants
