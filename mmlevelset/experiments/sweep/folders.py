"""The folders of runs: earlier settings, links to finished runs, the task of a run."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterable
from typing import Any

from mmlevelset.errors import InputError
from mmlevelset.experiments.runs import read_result
from mmlevelset.experiments.sweep.plan import Plan, PlannedRun
from mmlevelset.experiments.sweep.results import has_stale_result, shown
from mmlevelset.experiments.sweep.status import earlier_settings
from mmlevelset.experiments.work_dir import CHECKPOINT
from mmlevelset.files import write_json, write_text


def check_earlier(plan: Plan) -> None:
    """Check that no run was started before with other settings.

    Raises:
        InputError: a run was started with other settings; the message lists the changes.
    """
    changed = []
    for run in plan.runs:
        before = earlier_settings(run)
        if before is not None:
            changed.append(f"{shown(run.folder)} ({differences(before, run.settings)})")
    if changed:
        raise InputError(
            "started before with other settings: "
            + ", ".join(changed)
            + "; move these folders away, or choose another --work-dir"
        )


def differences(before: dict, now: dict) -> str:
    """Return the first four keys with different values, and both values."""
    old, new = flat(before), flat(now)
    keys = [key for key in {**old, **new} if old.get(key) != new.get(key)]
    changes = [f"{key}: {old.get(key, 'none')} -> {new.get(key, 'none')}" for key in keys[:4]]
    return "; ".join([*changes, f"{len(keys) - 4} more"] if len(keys) > 4 else changes)


def flat(settings: Any, name: str = "") -> dict[str, str]:
    """Return nested dicts and lists as one dict with dotted keys, without a leading ``config.``."""
    inner: Iterable[tuple[Any, Any]] = ()
    if isinstance(settings, dict):
        inner = settings.items()
    elif isinstance(settings, list):
        inner = enumerate(settings)
    found: dict[str, str] = {}
    for key, value in inner:
        found |= flat(value, f"{name}.{key}" if name else str(key))
    return found or {name.removeprefix("config."): json.dumps(settings)}


def link_finished(plan: Plan, arguments: argparse.Namespace) -> None:
    """Link runs that sweeps in neighbouring folders have finished.

    A linked run has the same settings and was trained by the same number of processes.
    """
    known = {}
    for file in sorted(plan.folder.parent.glob("*/*_seed*/result.json")):
        if file.parent.parent != plan.folder and not file.parent.is_symlink():
            try:
                result = read_result(file, of_a_sweep=True)
            except InputError as error:
                print(f"sweep.py: warning: a neighbour is left out: {error}", file=sys.stderr)
                continue
            known[result["fingerprint"], result.get("processes")] = file.parent
    for run in plan.runs:
        if run.folder.is_symlink() and not run.folder.exists():
            run.folder.unlink()  # the other sweep has been removed
        other = known.get((run.fingerprint, processes(run, arguments)))
        if other and run.source is None and not run.folder.exists():
            run.folder.symlink_to(os.path.relpath(other, plan.folder))
            print(f"{run.name}: the same as {shown(other)}")


def processes(run: PlannedRun, arguments: argparse.Namespace) -> int:
    """Return the number of processes that do the run."""
    return arguments.gpus_per_run * arguments.nodes_per_run if run.trains else 1


def prepare(run: PlannedRun, arguments: argparse.Namespace) -> None:
    """Write the config and the task of a run into its folder, and remove a stale result."""
    write_text(run.folder / "config.py", run.config.pretty_text)
    if has_stale_result(run):
        (run.folder / "result.json").unlink()
        if run.source is not None:  # the training begins again, from the new checkpoint
            for path in run.folder.iterdir():
                if path.name == "last_checkpoint" or CHECKPOINT.fullmatch(path.name):
                    path.unlink()
    launcher = "none"
    if run.trains and arguments.nodes_per_run > 1:
        launcher = "slurm"
    elif run.trains and arguments.gpus_per_run > 1:
        launcher = "pytorch"
    write_json(
        run.folder / "run.json",
        dict(
            variant=run.variant.name,
            seed=run.seed,
            fingerprint=run.fingerprint,
            settings=run.settings,
            source=run.source.name if run.source else None,
            trains=run.trains,
            command=run.variant.command,
            launcher=launcher,
            gpus=arguments.gpus_per_run,
            processes=processes(run, arguments),
        ),
    )
