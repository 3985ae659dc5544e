"""The plan of a sweep, read from a sweep file and checked as a whole before anything runs.

A sweep file is a config of mmengine's text style with these names:

    title = "Steps of the evolution"     # of the table
    seeds = (0, 1, 2)
    metrics = {"AP": "coco/segm_mAP"}    # column -> name in the log
    printed_on = "Cityscapes val"        # the data set of the paper's numbers
    config = "../quickstart/a.py"        # of all variants; relative to the sweep file
    options = {"model.x": 1}             # overrides of all variants
    variants = dict(
        ours=dict(label="Ours", options={"model.y": 2}, printed={"AP": 36.2}),
        other=dict(label="Another config", config="../quickstart/b.py"),
        tested=dict(of="ours", config="c.py"),    # evaluates the checkpoints of `ours`
        tuned=dict(of="ours", train=True, config="d.py"),    # trains from these checkpoints
        tool=dict(of="ours", command="tools/x.py {config} {checkpoint} --json {result}"),
        initial=dict(same="ours", metrics={"AP": "coco/initial_segm_mAP"}),    # its other scores
        theirs=dict(printed={"AP": 34.3}, run=False),    # a row with the paper's numbers alone
    )

A command may use these fields: {config}; {result}, a JSON file that the command must write, a dict
of numbers; {folder} of the run; and with `of`, {checkpoint} and {source_config} of the run that it
evaluates. A tool of this package is written tools/NAME.py.

A dict as an option's value is merged into the config's dict; with ``_delete_=True`` it replaces the
config's dict. A variant's ``seeds`` replace the sweep's seeds. A variant's ``metrics`` replace the
sweep's metrics in its row. ``show=False`` keeps a variant out of the table. Names that start with
``_`` are not read.
"""

from __future__ import annotations

import copy
import fnmatch
import hashlib
import json
import re
import shlex
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from string import Formatter
from typing import TYPE_CHECKING, Any

from mmlevelset.errors import InputError
from mmlevelset.experiments.command_line import remember_files_and_formats, require_key
from mmlevelset.experiments.overrides import override, read_config, short
from mmlevelset.experiments.runs import run_name, seed_of, variant_of

if TYPE_CHECKING:
    from mmengine.config import Config

TEXT = (str,), "a text"
SWITCH = (bool,), "True or False"
LIST = (list, tuple), "a list of whole numbers >= 0"
DICT = (dict,), "a dict"
SWEEP_KEYS = dict(
    title=TEXT,
    seeds=LIST,
    metrics=DICT,
    printed_on=TEXT,
    config=TEXT,
    options=DICT,
    variants=DICT,
)
VARIANT_KEYS = dict(
    label=TEXT,
    config=TEXT,
    options=DICT,
    printed=DICT,
    seeds=LIST,
    of=TEXT,
    train=SWITCH,
    same=TEXT,
    command=TEXT,
    metrics=DICT,
    show=SWITCH,
    run=SWITCH,
)
"""Keys of a sweep file and of a variant, with their types."""
FIELDS = {"config", "result", "folder", "checkpoint", "source_config"}
"""The fields of a variant's command."""


@dataclass(frozen=True)
class Variant:
    """A row of the table.

    Attributes:
        metrics: column -> name in the log.
        of: the variant whose checkpoints this variant evaluates, or trains from.
        train: this variant trains from the checkpoints of ``of``.
        same: the variant with the runs that this row shows.
        command: the command that evaluates a run, in place of the test command.
        config: the config with the overrides; None for a row without runs of its own.
    """

    name: str
    label: str
    printed: dict[str, float]
    seeds: tuple[int, ...]
    metrics: dict[str, str]
    of: str | None = None
    train: bool = False
    same: str | None = None
    command: str | None = None
    shown: bool = True
    config: Config | None = field(default=None, repr=False)


@dataclass(frozen=True)
class PlannedRun:
    """A variant with one seed.

    Attributes:
        folder: the folder of all files that the run writes.
        source: the run that this run evaluates, or trains from.
    """

    variant: Variant
    seed: int
    folder: Path
    source: PlannedRun | None = None

    @property
    def name(self) -> str:
        return self.folder.name

    @cached_property
    def config(self) -> Config:
        """The variant's config with the seed."""
        assert self.variant.config is not None
        config = copy.deepcopy(self.variant.config)
        config.merge_from_dict(dict(randomness=dict(seed=self.seed)))
        return config

    @cached_property
    def settings(self) -> dict[str, Any]:
        """All settings that the result depends on, in JSON's types."""
        settings = dict(config=self.config.to_dict(), command=self.variant.command)
        if self.source is not None:
            settings["trains from" if self.trains else "evaluates"] = self.source.settings
        return json.loads(json.dumps(settings, sort_keys=True, default=repr))

    @cached_property
    def fingerprint(self) -> str:
        """A hash of the settings."""
        return hashlib.sha256(json.dumps(self.settings).encode()).hexdigest()[:16]

    @cached_property
    def trains(self) -> bool:
        """Whether the run is a training: it evaluates no other run, and is no command."""
        return self.variant.command is None and (self.source is None or self.variant.train)


@dataclass(frozen=True)
class Plan:
    """A sweep: its rows, its columns, its runs in the order of their starts.

    Attributes:
        runs: the chosen runs.
        table_runs: the runs of the table: all runs of the plan, and the runs with other seeds in
            the folder.
        seeds: the seeds that the file names.
    """

    name: str
    file: Path
    folder: Path
    title: str
    printed_on: str
    metrics: dict[str, str]
    variants: tuple[Variant, ...]
    runs: tuple[PlannedRun, ...]
    table_runs: tuple[PlannedRun, ...]
    seeds: frozenset[int]

    def runs_of(self, variant: Variant) -> list[PlannedRun]:
        """Return the runs that the variant's row shows."""
        name = variant.same or variant.name
        return [run for run in self.table_runs if run.variant.name == name]


def read_plan(
    file: Path, folder: Path, only: Sequence[str] = (), seeds: Sequence[int] | None = None
) -> Plan:
    """Return the plan of a sweep file.

    Args:
        file: the sweep file.
        folder: the sweep's folder; each run has a folder in it.
        only: names of variants, or patterns such as ``b*``; none chooses all variants. A variant
            that a chosen variant evaluates is chosen as well.
        seeds: seeds in place of the file's seeds.

    Raises:
        InputError: the file, a config, a key or an override is wrong.
    """
    from mmengine.config import Config

    remember_files_and_formats()
    try:
        sweep = Config.fromfile(file).to_dict()
        sweep = {key: value for key, value in sweep.items() if not key.startswith("_")}
    except Exception as error:
        raise InputError(f"{file} cannot be read: {error}") from error
    _check_keys(sweep, SWEEP_KEYS, str(file))
    _check_types(sweep, SWEEP_KEYS, f"{file}: ")
    for key in ("variants", "metrics"):
        if not sweep.get(key):
            raise InputError(f"{file}: {key} must be a dict with at least one entry")
    _check_types(sweep["metrics"], dict.fromkeys(sweep["metrics"], TEXT), f"{file}: metrics.")
    variants = []
    for name, row in sweep["variants"].items():
        is_name = isinstance(name, str) and re.fullmatch(r"[\w.+-]+", name)
        if not is_name or name in (".", "..") or variant_of(name) != name:
            raise InputError(f"{file}: variants: {name!r} cannot be the name of a folder of runs")
        if not isinstance(row, dict):
            raise InputError(f"{file}: variants.{name} must be a dict, and is {short(row)}")
        variants.append(_variant(file, sweep, name, row))
    own = frozenset(seed for variant in variants for seed in variant.seeds)
    if seeds is not None:
        variants = [replace(variant, seeds=_seeds(seeds, "--seeds")) for variant in variants]
    chosen = _chosen(file, variants, only)
    table = [replace(variant, seeds=_seeds_in(folder, variant)) for variant in variants]
    runs = {run.name: run for run in _runs(folder, table)}
    return Plan(
        name=folder.name,
        file=file,
        folder=folder,
        title=sweep.get("title", folder.name),
        printed_on=sweep.get("printed_on", ""),
        metrics=sweep["metrics"],
        variants=tuple(variants),
        runs=tuple(runs[run.name] for run in _runs(folder, chosen)),
        table_runs=tuple(runs.values()),
        seeds=own,
    )


def _seeds(seeds: Sequence[int], where: str) -> tuple[int, ...]:
    whole = [type(seed) is int and seed >= 0 for seed in seeds]
    if not seeds or not all(whole):
        raise InputError(f"{where}: seeds must be whole numbers >= 0, one at least, not {seeds}")
    if len(set(seeds)) < len(seeds):
        raise InputError(f"{where}: seeds has a number twice: {seeds}")
    return tuple(seeds)


def _seeds_in(folder: Path, variant: Variant) -> tuple[int, ...]:
    """Return the seeds of a variant, then the other seeds of its runs in the folder."""
    names = [path.name for path in folder.glob(f"{variant.name}_seed*")]
    seeds = [seed_of(name) for name in names if variant_of(name) == variant.name]
    there = {seed for seed in seeds if seed is not None}
    return (*variant.seeds, *sorted(there - set(variant.seeds)))


def _variant(file: Path, sweep: dict, name: str, row: dict) -> Variant:
    where = f"{file}: variants.{name}"
    _check_keys(row, VARIANT_KEYS, where)
    _check_types(row, VARIANT_KEYS, f"{where}.")
    printed = row.get("printed", {})
    _check_keys(printed, set(sweep["metrics"]), f"{where}.printed")
    _check_types(printed, dict.fromkeys(printed, ((int, float), "a number")), f"{where}.printed.")
    seeds = _seeds(row.get("seeds", sweep.get("seeds", (0,))), where)
    metrics = row.get("metrics", {})
    _check_keys(metrics, set(sweep["metrics"]), f"{where}.metrics")
    _check_types(metrics, dict.fromkeys(metrics, TEXT), f"{where}.metrics.")
    if "command" in row:
        _check_command(row["command"], "of" in row, f"{where}.command")
    if row.get("train") and ("of" not in row or "command" in row):
        raise InputError(f"{where}: train needs `of` and no `command`")
    config = None
    if row.get("run", True) and "same" not in row:
        path = row.get("config", sweep.get("config"))
        if path is None:
            raise InputError(f"{where} has no config, nor has the sweep")
        config = _overridden(
            (file.parent / path).resolve(),
            {**sweep.get("options", {}), **row.get("options", {})},
            where,
            strict="command" not in row,  # a command may read any name of its config
        )
    return Variant(
        name=name,
        label=row.get("label", name),
        printed=printed,
        seeds=seeds,
        metrics=sweep["metrics"] | metrics,
        of=row.get("of"),
        train=row.get("train", False),
        same=row.get("same"),
        shown=row.get("show", True),
        command=row.get("command"),
        config=config,
    )


def _overridden(path: Path, options: dict[str, Any], where: str, strict: bool) -> Config:
    if not path.is_file():
        raise InputError(f"{where}: the config {path} does not exist")
    try:
        config = read_config(path)
    except InputError as error:
        raise InputError(f"{where}: {error}") from error
    for key, value in options.items():
        for dotted in _keys(key, value):
            require_key(config, dotted, f"{where}: option {dotted}")
    return override(config, path, options, f"{where}: option", strict, say=lambda _: None)


def _keys(key: str, value: Any) -> Iterator[str]:
    """Yield the dotted keys that an option sets; for a dict, the keys of its entries."""
    if isinstance(value, dict) and value and not value.get("_delete_", False):
        for name, inner in value.items():
            yield from _keys(f"{key}.{name}", inner)
    else:
        yield key


def _chosen(file: Path, variants: list[Variant], only: Sequence[str]) -> list[Variant]:
    known = {variant.name: variant for variant in variants}
    for variant in variants:
        where = f"{file}: variants.{variant.name}"
        for key, name in (("of", variant.of), ("same", variant.same)):
            if name is None:
                continue
            other = known.get(name)
            if other is None or other.config is None:
                raise InputError(f"{where}.{key} must name a variant that runs, and is {name!r}")
            if key == "of" and (other.of or other.command):
                raise InputError(f"{where}.of must name a variant that trains, and is {name!r}")
            missing = set(variant.seeds) - set(other.seeds)
            if missing:
                raise InputError(f"{where}: {name} has no seed {min(missing)}")
    chosen: set[str] = set()
    for pattern in only:
        found = fnmatch.filter(known, pattern)
        if not found:
            raise InputError(f"--only {pattern}: no such variant; there are {', '.join(known)}")
        for row in found:
            for name in (row, known[row].same or row):
                chosen |= {name, known[name].of or name}
    return [variant for variant in variants if not only or variant.name in chosen]


def _runs(folder: Path, variants: list[Variant]) -> Iterator[PlannedRun]:
    """Yield runs seed by seed, so that an early table has every row."""
    known = {variant.name: variant for variant in variants}
    with_runs = [variant for variant in variants if variant.config is not None]
    evaluations_last = sorted(with_runs, key=lambda variant: variant.of is not None)
    for seed in sorted({seed for variant in with_runs for seed in variant.seeds}):
        for variant in evaluations_last:
            if seed not in variant.seeds:
                continue
            source = None
            if variant.of:
                name = run_name(variant.of, seed)
                source = PlannedRun(known[variant.of], seed, folder / name)
            yield PlannedRun(variant, seed, folder / run_name(variant.name, seed), source)


def _check_types(given: dict, kinds: Mapping[str, tuple], where: str) -> None:
    for key, value in given.items():
        types, description = kinds[key]
        if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
            raise InputError(f"{where}{key} must be {description}, and is {short(value)}")
        if types == (dict,) and not all(isinstance(name, str) for name in value):
            raise InputError(f"{where}{key} must have texts as keys, and is {short(value)}")


def _check_command(command: str, evaluates: bool, where: str) -> None:
    try:
        words = shlex.split(command)
        fields = {name for word in words for _, name, _, _ in Formatter().parse(word) if name}
    except ValueError as error:
        raise InputError(f"{where} cannot be read: {error}") from error
    if not words:
        raise InputError(f"{where} must name a program, and is empty")
    known = FIELDS if evaluates else FIELDS - {"checkpoint", "source_config"}
    unknown = sorted(fields - known)
    if unknown:
        raise InputError(
            f"{where}: unknown field {{{unknown[0]}}}; there are {', '.join(sorted(known))}"
        )


def _check_keys(given: dict, known: Collection[str], where: str) -> None:
    for key in given:
        if key not in known:
            raise InputError(f"{where}: unknown {key!r}; there are {', '.join(sorted(known))}")
