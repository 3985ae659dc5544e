"""What a sweep file says, checked as a whole before anything runs.

A sweep file is a config of mmengine's text style with these names:

    title = "what the table shows"
    seeds = (0, 1, 2)
    metrics = {"AP": "coco/segm_mAP"}    # column -> what the evaluation logs
    printed_on = "Cityscapes val"        # where the paper's own numbers come from
    config = "../quickstart/a.py"        # of all variants; relative to the sweep file
    options = {"model.x": 1}             # overrides of all variants
    variants = dict(
        ours=dict(label="Ours", options={"model.y": 2}, printed={"AP": 36.2}),
        other=dict(label="Another config", config="../quickstart/b.py"),
        tested=dict(of="ours", config="c.py"),    # evaluates the checkpoints of `ours`
        tool=dict(of="ours", command="tools/x.py {config} {checkpoint} --json {result}"),
        initial=dict(same="ours", metrics={"AP": "coco/initial_segm_mAP"}),    # its other scores
        theirs=dict(printed={"AP": 34.3}, run=False),    # the paper's row alone
    )

A command's fields are the files {config}, {result}, which it must write (a JSON dict of numbers),
and, of the run whose checkpoint it takes, {checkpoint} and {source_config}; and {folder}, its own.

Values of options that are dicts are merged into the config's, as mmengine does it, replacing them
with ``_delete_=True``. A variant's ``seeds`` take the place of the sweep's, its ``arguments`` are
added to the command line of train.py or, with ``of``, test.py; its ``metrics`` take the place of
the sweep's in its row. ``show=False`` keeps it out of the table. Names that start with ``_`` are
the file's own.
"""

from __future__ import annotations

import copy
import fnmatch
import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmlevelset.errors import InputError
from mmlevelset.experiments.command_line import require_key

if TYPE_CHECKING:
    from mmengine.config import Config

SWEEP_KEYS = {"title", "seeds", "metrics", "printed_on", "config", "options", "variants"}
VARIANT_KEYS = {
    "label",
    "config",
    "options",
    "printed",
    "seeds",
    "of",
    "same",
    "command",
    "arguments",
    "metrics",
    "show",
    "run",
}


@dataclass(frozen=True)
class Variant:
    """One row of the table."""

    name: str
    label: str
    printed: dict[str, float]
    seeds: tuple[int, ...]
    metrics: dict[str, str]
    of: str | None = None
    same: str | None = None
    command: str | None = None
    arguments: tuple[str, ...] = ()
    shown: bool = True
    config: Config | None = field(default=None, repr=False)  # None: the paper's row alone


@dataclass(frozen=True)
class Run:
    """A variant with one seed; all it writes is in ``folder``."""

    variant: Variant
    seed: int
    folder: Path
    source: Run | None = None  # whose checkpoint is evaluated

    @property
    def name(self) -> str:
        return self.folder.name

    @cached_property
    def config(self) -> Config:
        """The variant's, with the seed."""
        assert self.variant.config is not None
        config = copy.deepcopy(self.variant.config)
        config.merge_from_dict(dict(randomness=dict(seed=self.seed)))
        return config

    @cached_property
    def settings(self) -> dict[str, Any]:
        """All that its result depends on, as JSON has it."""
        said = dict(
            config=self.config.to_dict(),
            command=self.variant.command,
            arguments=self.variant.arguments,
        )
        if self.source is not None:
            said["evaluates"] = self.source.settings
        return json.loads(json.dumps(said, sort_keys=True, default=repr))

    @cached_property
    def fingerprint(self) -> str:
        """The same for runs of the same settings."""
        return hashlib.sha256(json.dumps(self.settings).encode()).hexdigest()[:16]

    @cached_property
    def trains(self) -> bool:
        return self.source is None and self.variant.command is None


@dataclass(frozen=True)
class Plan:
    """A sweep: its rows, its columns, its runs in the order in which they should be done.

    Attributes:
        runs: those chosen.
        table_runs: those whose results the table shows: the chosen ones, the rest of the plan, and
            what lies in the folder with other seeds.
        seeds: the file's own.
    """

    name: str
    file: Path
    folder: Path
    title: str
    printed_on: str
    metrics: dict[str, str]
    variants: tuple[Variant, ...]
    runs: tuple[Run, ...]
    table_runs: tuple[Run, ...]
    seeds: frozenset[int]

    def runs_of(self, variant: Variant) -> list[Run]:
        """Those that a row of the table shows."""
        name = variant.same or variant.name
        return [run for run in self.table_runs if run.variant.name == name]


def read_plan(
    file: Path, folder: Path, only: Sequence[str] = (), seeds: Sequence[int] | None = None
) -> Plan:
    """The plan of a sweep file.

    Args:
        file: the sweep file.
        folder: where the runs' folders are.
        only: names of variants, patterns as ``b*`` allowed; none: all. What a chosen variant
            evaluates is chosen as well.
        seeds: in place of the sweep's own.

    Raises:
        InputError: the file, a config it names, a key or an override is wrong.
    """
    from mmengine.config import Config

    try:
        sweep = Config.fromfile(file).to_dict()
        sweep = {key: value for key, value in sweep.items() if not key.startswith("_")}
    except Exception as error:
        raise InputError(f"{file} cannot be read: {error}") from error
    _check_keys(sweep, SWEEP_KEYS, str(file))
    for key, kind in (("variants", dict), ("metrics", dict)):
        if not isinstance(sweep.get(key), kind) or not sweep[key]:
            raise InputError(f"{file}: {key} must be a dict with an entry at least")
    variants = []
    for name, said in sweep["variants"].items():
        if not re.fullmatch(r"[\w.+-]+", name) or re.search(r"_seed\d+$", name):
            raise InputError(f"{file}: variants: {name!r} cannot be the name of a folder of runs")
        if not isinstance(said, dict):
            raise InputError(f"{file}: variants.{name} must be a dict, and is {said!r}")
        variants.append(_variant(file, sweep, name, said))
    own = frozenset(seed for variant in variants for seed in variant.seeds)
    if seeds is not None:
        variants = [replace(variant, seeds=_seeds(seeds, "--seeds")) for variant in variants]
    chosen = _chosen(file, variants, only)
    table = [replace(variant, seeds=_begun(folder, variant)) for variant in variants]
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


def _seeds(said: Sequence[int], where: str) -> tuple[int, ...]:
    if not said or not all(isinstance(seed, int) and seed >= 0 for seed in said):
        raise InputError(f"{where}: seeds must be whole numbers >= 0, one at least, not {said}")
    if len(set(said)) < len(said):
        raise InputError(f"{where}: seeds has a number twice: {said}")
    return tuple(said)


def _begun(folder: Path, variant: Variant) -> tuple[int, ...]:
    """The seeds of a variant, and those of its runs in the folder."""
    names = [path.name.rpartition("_seed") for path in folder.glob(f"{variant.name}_seed*")]
    there = {int(seed) for name, _, seed in names if name == variant.name and seed.isdecimal()}
    return (*variant.seeds, *sorted(there - set(variant.seeds)))


def _variant(file: Path, sweep: dict, name: str, said: dict) -> Variant:
    where = f"{file}: variants.{name}"
    _check_keys(said, VARIANT_KEYS, where)
    printed = said.get("printed", {})
    _check_keys(printed, set(sweep["metrics"]), f"{where}.printed")
    seeds = _seeds(said.get("seeds", sweep.get("seeds", (0,))), where)
    metrics = said.get("metrics", {})
    _check_keys(metrics, set(sweep["metrics"]), f"{where}.metrics")
    config = None
    if said.get("run", True) and "same" not in said:
        path = said.get("config", sweep.get("config"))
        if path is None:
            raise InputError(f"{where} has no config, nor has the sweep")
        config = _overridden(
            (file.parent / path).resolve(),
            {**sweep.get("options", {}), **said.get("options", {})},
            where,
        )
    return Variant(
        name=name,
        label=said.get("label", name),
        printed=printed,
        seeds=seeds,
        metrics=sweep["metrics"] | metrics,
        of=said.get("of"),
        same=said.get("same"),
        shown=said.get("show", True),
        command=said.get("command"),
        arguments=tuple(said.get("arguments", ())),
        config=config,
    )


def _overridden(path: Path, options: dict[str, Any], where: str) -> Config:
    from mmengine.config import Config

    if not path.is_file():
        raise InputError(f"{where}: the config {path} does not exist")
    try:
        config = Config.fromfile(path)
    except Exception as error:
        raise InputError(f"{where}: {path} cannot be read: {error}") from error
    for key, value in options.items():
        for dotted in _keys(key, value):
            require_key(config, dotted, f"{where}: option {dotted}")
    config.merge_from_dict(copy.deepcopy(options))
    return config


def _keys(key: str, value: Any) -> Iterator[str]:
    """The dotted keys that an option sets: of a dict, those of its entries."""
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
        for name in found:
            for one in (name, known[name].same or name):
                chosen |= {one, known[one].of or one}
    return [variant for variant in variants if not only or variant.name in chosen]


def _runs(folder: Path, variants: list[Variant]) -> Iterator[Run]:
    """Seed by seed, so that an early look at the table shows every row."""
    known = {variant.name: variant for variant in variants}
    trained = [variant for variant in variants if variant.config is not None]
    for seed in sorted({seed for variant in trained for seed in variant.seeds}):
        for variant in sorted(trained, key=lambda variant: variant.of is not None):  # those last
            if seed in variant.seeds:
                source = None
                if variant.of:
                    source = Run(known[variant.of], seed, folder / f"{variant.of}_seed{seed}")
                yield Run(variant, seed, folder / f"{variant.name}_seed{seed}", source)


def _check_keys(said: dict, known: set[str], where: str) -> None:
    for key in said:
        if key not in known:
            raise InputError(f"{where}: unknown {key!r}; there are {', '.join(sorted(known))}")
