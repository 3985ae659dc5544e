"""What report.py reads from work dirs: logs, scores, configs, seeds, versions."""

from __future__ import annotations

import json
import math
import re
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from results_table import as_shown

OTHER_VALUES = {"time", "data_time", "step", "iter", "epoch", "lr", "base_lr", "memory"}
FAMILIES = {
    "Instances": r"(lvis/)?(segm|bbox)_.*AP.*|cityscapes/.*",
    "Semantic maps": r"mIoU",
    "Single objects": r"FM(_\d+)?",
}
"""Kind of result -> the names of scores that tell it."""
COLUMNS = {
    "Instances": (
        r"segm_m?AP",
        r"segm_m?AP_?(50|75)",
        r"lvis/segm_AP",
        r"lvis/segm_AP(50|75)",
        r"cityscapes/mAP",
        r"cityscapes/AP@50",
        r"AF_.*",
        r"boundary_.*",
        r"bbox_m?AP",
        r"initial_segm_m?AP",
        r"lvis/initial_segm_AP",
        r"initial_AF_.*",
        r"segm_m?AP_?\d+",
    ),
    "Semantic maps": ("mIoU", "mAcc", "aAcc", "BF_.*"),
    "Single objects": (r"FM(_\d+)?", "BF_.*"),
}
"""Scores that are shown unless others are asked for, in this order."""
CURVES = ("segm_mAP", "lvis/segm_AP", "cityscapes/mAP", "AF_1", "bbox_mAP", "mIoU", "FM")
"""Scores whose course is drawn, unless others are asked for."""
# Where a run was made and with what seed, or what follows from it, tells no variants apart.
NO_DIFFERENCE = {"work_dir", "resume", "launcher", "randomness.seed"}
ABSENT = object()
ENVIRONMENT = {"Python": "python", "PyTorch": "torch", "MMEngine": "mmengine"}


@dataclass
class Run:
    """One work dir.

    Attributes:
        variant: what the run has in common with those of other seeds.
        name: unique among the runs of a report.
        training, validation: the log's records by step; empty for a test alone.
        scores: of the last evaluation, in percent, without ``coco/``.
        classes: class -> AP or IoU in percent, where that was evaluated.
        checkpoints: the folder of its checkpoint.
        notes: what the report has to leave out for this run, and why.
    """

    work_dir: Path
    checkpoints: Path
    variant: str = ""
    name: str = ""
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
    def family(self) -> str:
        """Which of :data:`FAMILIES` the run belongs to, "Other scores" if none."""
        for family, pattern in FAMILIES.items():
            if any(re.fullmatch(pattern, name) for name in self.scores):
                return family
        return "Other scores"

    @property
    def iterations(self) -> int | None:
        return self.training[-1]["step"] if self.training else None

    @property
    def seconds(self) -> float | None:
        """Median time of an iteration."""
        times = [record["time"] for record in self.training if "time" in record]
        return statistics.median(times) if times else None

    def take_scores(self, logged: Mapping[str, Any]) -> None:
        """Take scores as an evaluation logs them; what it does not know (-1, NaN) is left out."""
        for key, value in logged.items():
            name = key.removeprefix("coco/")
            if name in OTHER_VALUES or not isinstance(value, int | float):
                continue
            percent = as_shown(key, value)
            if not math.isfinite(percent):
                continue
            if name.endswith("_precision"):
                if not name.startswith("initial_"):
                    self.classes[name.removesuffix("_precision")] = percent
            else:
                self.scores[name] = percent


def read_runs(work_dirs: Sequence[Path]) -> tuple[list[Run], list[str]]:
    """The runs of folders, and a line for each folder without a log.

    Raises:
        FileNotFoundError: a path does not exist, or no folder holds a log.
        ValueError: a log is broken.
    """
    runs, left_out = [], []
    for work_dir in {path.absolute(): path for path in work_dirs}.values():
        if not work_dir.exists():
            raise FileNotFoundError(f"the work dir {work_dir} does not exist")
        if not work_dir.is_dir() or work_dir.name == "submitit":  # its logs, in a sweep's folder
            continue
        run = read_run(work_dir)
        if run is None:
            left_out.append(f"{work_dir} holds no log of a training or an evaluation")
            failed = work_dir / "failed.json"
            if failed.is_file():
                left_out[-1] += f"; it failed: {json.loads(failed.read_text()).get('message')}"
        else:
            runs.append(run)
    if not runs:
        reason = "; ".join(left_out) or "no folder was given"
        raise FileNotFoundError(f"{reason} (looked for */vis_data/scalars.json and result.json)")
    _name(runs)
    return runs, left_out


def read_run(work_dir: Path) -> Run | None:
    """The run in a work dir, or None where there is no log of one."""
    from mmlevelset.logs import log_files, read_log, read_records

    logs = log_files(work_dir)
    records = {log: read_records(log) for log in logs}
    trainings = [log for log in logs if any("loss" in record for record in records[log])]
    # A test alone writes <time>/<time>.json, and the sweep's result stands for the run.
    tests = [
        path
        for path in work_dir.glob("*/*.json")
        if path.stem == path.parent.name and re.fullmatch(r"\d{8}_\d{6}", path.stem)
    ]
    result = work_dir / "result.json"
    if not trainings and not tests and not result.is_file():
        return None
    run = Run(work_dir, _checkpoints(work_dir))
    if trainings:
        run.training, run.validation = read_log(trainings)
    else:
        run.notes.append("no log of a training: no curves")
    evaluated = {log.parent.parent.name: run.validation[-1] for log in trainings if run.validation}
    evaluated |= {path.stem: json.loads(path.read_text()) for path in tests}
    if result.is_file():
        found = json.loads(result.read_text())
        run.take_scores(found["metrics"])
        run.environment = dict(found.get("environment", {}))
    elif evaluated:
        run.take_scores(evaluated[max(evaluated)])
    if not run.scores:
        run.notes.append("no evaluation in the log: no scores")
    newest = trainings[-1].parent if trainings else None
    if newest is None and tests:
        newest = max(tests).parent / "vis_data"
    _read_config(run, newest)
    if newest is not None:
        _read_text_log(run, newest.parent)
    return run


def _checkpoints(work_dir: Path) -> Path:
    """The folder with a run's checkpoint: of a sweep's evaluation that of the run it evaluates."""
    task = work_dir / "run.json"
    if task.is_file():
        said = json.loads(task.read_text())
        # What a command makes of the predictions is not the model's own.
        if said.get("source") and not said.get("command"):
            return work_dir.absolute().parent / said["source"]
    return work_dir


def _read_config(run: Run, vis_data: Path | None) -> None:
    from mmengine.config import Config

    written = sorted(run.work_dir.glob("*.py"), key=lambda path: path.stat().st_mtime)
    run.config_name = written[-1].name if written else ""
    files = [vis_data / "config.py"] if vis_data is not None else []
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


def _read_text_log(run: Run, folder: Path) -> None:
    """Seed, versions and device from the head of mmengine's log."""
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


def _name(runs: Sequence[Run]) -> None:
    """Fill in names and variants: the folder's, with more of the path only where it takes that."""
    steps = [run.work_dir.absolute().parts for run in runs]
    for depth in range(1, max(map(len, steps)) + 1):
        names = ["/".join(parts[-depth:]) for parts in steps]
        variants = [re.sub(r"_seed\d+$", "", name) for name in names]
        # Folders of one name in different ones are no seeds of one variant.
        places = {(name, parts[:-1]) for name, parts in zip(variants, steps, strict=True)}
        if len(places) == len(set(variants)):
            break
    for run, name, variant in zip(runs, names, variants, strict=True):
        run.name, run.variant = name, variant


def by_variant(runs: Sequence[Run]) -> dict[str, list[Run]]:
    variants: dict[str, list[Run]] = {}
    for run in runs:
        variants.setdefault(run.variant, []).append(run)
    return variants


@dataclass
class Cell:
    """Mean and sample standard deviation of a score over the seeds; ``text`` is empty if none."""

    values: Sequence[float]
    best: bool = False

    @property
    def mean(self) -> float:
        return statistics.mean(self.values)

    @property
    def text(self) -> str:
        if not self.values:
            return ""
        spread = f" ± {statistics.stdev(self.values):.1f}" if len(self.values) > 1 else ""
        return f"{self.mean:.1f}{spread}"


def mark_best(cells: list[Cell]) -> list[Cell]:
    """Mark the greatest means, to the digit that is shown, if there are two to compare."""
    known = [cell for cell in cells if cell.values]
    if len(known) > 1:
        best = max(round(cell.mean, 1) for cell in known)
        for cell in known:
            cell.best = round(cell.mean, 1) == best
    return cells


@dataclass
class Table:
    title: str
    columns: list[str]
    rows: dict[str, list[Cell]]


def result_tables(runs: Sequence[Run], asked: Sequence[str] | None) -> list[Table]:
    """A table of variants and scores for each kind of result.

    Raises:
        ValueError: no run has one of the scores asked for.
    """
    present = {name for run in runs for name in run.scores}
    unknown = [name for name in asked or () if name not in present]
    if unknown:
        there = ", ".join(sorted(present)) or "none"
        raise ValueError(f"no run has {', '.join(unknown)}; there are {there}")
    tables = []
    for family in (*FAMILIES, "Other scores"):
        members = [run for run in runs if run.scores and run.family == family]
        variants = by_variant(members)
        own = variants.values()
        names = columns(family, {name for run in members for name in run.scores}, asked)
        cells = [
            mark_best([Cell([r.scores[name] for r in seeds if name in r.scores]) for seeds in own])
            for name in names
        ]
        if names:
            rows = dict(zip(variants, map(list, zip(*cells, strict=True)), strict=True))
            tables.append(Table(family, names, rows))
    return tables


def columns(family: str, present: set[str], asked: Sequence[str] | None) -> list[str]:
    """The scores to show of those present, in the order of :data:`COLUMNS`."""
    if asked:
        return [name for name in asked if name in present]
    patterns = COLUMNS.get(family, (".*",))
    order = {
        name: [place for place, one in enumerate(patterns) if re.fullmatch(one, name)]
        for name in present
    }
    return sorted((name for name in present if order[name]), key=lambda name: (order[name], name))


def class_table(runs: Sequence[Run]) -> Table | None:
    """Classes as rows, variants as columns."""
    variants = by_variant([run for run in runs if run.classes])
    own = variants.values()
    classes = list(dict.fromkeys(name for run in runs for name in run.classes))
    rows = {
        name: mark_best(
            [Cell([r.classes[name] for r in seeds if name in r.classes]) for seeds in own]
        )
        for name in classes
    }
    return Table("Classes", list(variants), rows) if classes else None


def label(score: str) -> str:
    """A score's name for readers."""
    metric, _, logged = score.rpartition("/")
    name = logged.removeprefix("initial_")
    found = re.fullmatch(r"(?:(segm|bbox)_)?m?AP[_@]?(\w*)", name)
    if found:
        star = "*" if metric == "lvis" else ""
        name = f"{'box' if found[1] == 'bbox' else 'mask'} AP{star}{found[2]}"
    else:
        name = re.sub(r"^([AB])F_([\d.]+)$", r"\1F, \2 px", name)
    if metric == "cityscapes":
        name += ", Cityscapes"
    return f"{name}, initial" if logged.startswith("initial_") else name


def config_differences(variants: Mapping[str, Sequence[Any]]) -> list[tuple[list[str], list[str]]]:
    """Which values of configs differ: keys that differ alike, and a text for each variant.

    Args:
        variants: name -> the configs of its runs, as nested dicts. Where they differ within a
            variant, its text has all values.
    """
    owners = [name for name, configs in variants.items() for _ in configs]
    configs = [config for seeds in variants.values() for config in seeds]
    found: dict[tuple, list[str]] = {}
    for key, values in _differing("", configs):
        texts = []
        for name in variants:
            own = [_text(v) for v, owner in zip(values, owners, strict=True) if owner == name]
            texts.append(" / ".join(dict.fromkeys(own)))
        # mmengine's configs say the same in several places, as for validation and test.
        found.setdefault((key.rpartition(".")[2], *texts), []).append(key)
    return [(keys, list(texts)) for (_, *texts), keys in found.items()]


def _differing(key: str, values: Sequence[Any]) -> Iterator[tuple[str, Sequence[Any]]]:
    if key in NO_DIFFERENCE or all(_text(value) == _text(values[0]) for value in values):
        return
    steps: list[Any] = []
    if all(isinstance(value, dict) for value in values):
        steps = list(dict.fromkeys(step for value in values for step in value))
        inner = [[value.get(step, ABSENT) for value in values] for step in steps]
    elif all(_is_list_of_dicts(value) for value in values) and len({*map(len, values)}) == 1:
        steps = list(range(len(values[0])))
        inner = [[value[step] for value in values] for step in steps]
    if not steps:
        yield key, values
    for step, one in zip(steps, inner if steps else [], strict=True):
        yield from _differing(f"{key}.{step}" if key else str(step), one)


def _is_list_of_dicts(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(one, dict) for one in value)


def _text(value: Any) -> str:
    if value is ABSENT:
        return ""
    if isinstance(value, dict):
        inner = ", ".join(f"{key}={_text(one)}" for key, one in value.items() if key != "type")
        return f"{value.get('type', '')}({inner})"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_text, value))}]"
    return repr(value)
