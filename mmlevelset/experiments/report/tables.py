"""The tables of a report: scores, classes, differences of configs."""

from __future__ import annotations

import re
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mmlevelset.errors import InputError
from mmlevelset.experiments.runs import RunRecord, by_variant
from mmlevelset.experiments.scores import mean_and_deviation

FAMILIES = {
    "Instances": r"(lvis/)?(segm|bbox)_.*AP.*|cityscapes/.*",
    "Semantic maps": r"mIoU",
    "Single objects": r"FM(_\d+)?",
}
"""Kind of result -> the names of its scores, as a pattern."""
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
"""Kind of result -> the columns of its table, unless others are asked for."""
CURVES = ("segm_mAP", "lvis/segm_AP", "cityscapes/mAP", "AF_1", "bbox_mAP", "mIoU", "FM")
"""Scores that have a chart, unless others are asked for."""
NO_DIFFERENCE = {"work_dir", "resume", "launcher", "randomness.seed"}
"""Keys that differ between runs of one variant."""
ABSENT = object()


def family_of(run: RunRecord) -> str:
    """Return the kind of a run's results, "Other scores" if :data:`FAMILIES` has none."""
    for family, pattern in FAMILIES.items():
        if any(re.fullmatch(pattern, name) for name in run.scores):
            return family
    return "Other scores"


@dataclass
class Cell:
    """The values of a score over the seeds; ``text`` is their mean and deviation."""

    values: Sequence[float]
    best: bool = False

    @property
    def mean(self) -> float:
        return statistics.mean(self.values)

    @property
    def text(self) -> str:
        return mean_and_deviation(self.values, digits=1)


def mark_best(cells: list[Cell]) -> list[Cell]:
    """Mark the greatest means, rounded as they are shown, if there are two or more to compare."""
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


def result_tables(runs: Sequence[RunRecord], asked: Sequence[str] | None) -> list[Table]:
    """Return a table of variants and scores for each kind of result.

    Raises:
        InputError: a score in ``asked`` is in no run.
    """
    present = {name for run in runs for name in run.scores}
    unknown = [name for name in asked or () if name not in present]
    if unknown:
        there = ", ".join(sorted(present)) or "none"
        raise InputError(f"no run has {', '.join(unknown)}; there are {there}")
    tables = []
    for family in (*FAMILIES, "Other scores"):
        members = [run for run in runs if run.scores and family_of(run) == family]
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
    """Return the columns of a table, out of the scores present, in the order of :data:`COLUMNS`."""
    if asked:
        return [name for name in asked if name in present]
    patterns = COLUMNS.get(family, (".*",))
    order = {
        name: [place for place, pattern in enumerate(patterns) if re.fullmatch(pattern, name)]
        for name in present
    }
    return sorted((name for name in present if order[name]), key=lambda name: (order[name], name))


def class_table(runs: Sequence[RunRecord]) -> Table | None:
    """Return the table with classes as rows and variants as columns; None without classes."""
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
    """Return the name of a score that tables show."""
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
    """Return the differences of configs: keys with the same differences, a text for each variant.

    Args:
        variants: name -> the configs of its runs, as nested dicts. If they differ within a
            variant, the text of the variant has all its values.
    """
    owners = [name for name, configs in variants.items() for _ in configs]
    configs = [config for seeds in variants.values() for config in seeds]
    found: dict[tuple, list[str]] = {}
    for key, values in _differing("", configs):
        texts = []
        for name in variants:
            own = [_text(v) for v, owner in zip(values, owners, strict=True) if owner == name]
            texts.append(" / ".join(dict.fromkeys(own)))
        # mmengine's configs repeat values, for instance for validation and test.
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
    for step, inner_values in zip(steps, inner if steps else [], strict=True):
        yield from _differing(f"{key}.{step}" if key else str(step), inner_values)


def _is_list_of_dicts(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(item, dict) for item in value)


def _text(value: Any) -> str:
    if value is ABSENT:
        return ""
    if isinstance(value, dict):
        inner = ", ".join(f"{key}={_text(item)}" for key, item in value.items() if key != "type")
        return f"{value.get('type', '')}({inner})"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_text, value))}]"
    return repr(value)
