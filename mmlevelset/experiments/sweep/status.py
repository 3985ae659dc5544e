"""The states of a sweep's runs."""

from __future__ import annotations

import re
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmlevelset.errors import InputError
from mmlevelset.experiments.scores import mean_and_deviation
from mmlevelset.experiments.sweep.cluster import queued_jobs, read_job
from mmlevelset.experiments.sweep.plan import Plan, PlannedRun
from mmlevelset.experiments.sweep.results import (
    broken,
    has_stale_result,
    read_results,
    result_of,
    scores,
)
from mmlevelset.experiments.sweep.run import is_running
from mmlevelset.files import read_json

if TYPE_CHECKING:
    from rich.table import Table

COLORS = dict(
    finished="green",
    running="cyan",
    queued="blue",
    failed="red",
    outdated="red",
    broken="red",
    interrupted="yellow",
)
PROGRESS = re.compile(
    r"(?:Epoch|Iter)\((?P<phase>\w+)\)\s+(?:\[(?P<epoch>\d+)\])?\[\s*(?P<step>\d+)/(?P<steps>\d+)\]"
    r"(?:.*?\beta: (?:(?P<days>\d+) days?, )?(?P<eta>\d+:\d\d:\d\d))?"
)


@dataclass(frozen=True)
class Status:
    """The state of a run.

    It is finished, running, queued, failed, outdated, broken, interrupted or waiting. Outdated
    means that the run was started before with other settings. Broken means that a file of the run
    cannot be read.

    Attributes:
        progress: the progress in the log, ``epoch 3, 40/80``.
        left: the log's estimate of the remaining seconds; None without an estimate.
        message: the message of a failure.
    """

    run: PlannedRun
    state: str
    progress: str = ""
    left: float | None = None
    message: str = ""


def status(run: PlannedRun) -> Status:
    """Return the state of a run, read from its folder."""
    folder = run.folder
    error = broken(run)
    if error is not None:
        return Status(run, "broken", message=f"{error}; remove the file, and the run starts again")
    if result_of(run) is not None:
        return Status(run, "finished")
    progress, left = _progress(folder)
    if is_running(folder):
        return Status(run, "running", progress, left)
    job = read_job(folder)
    if job is not None and job in queued_jobs():
        return Status(run, "queued", f"job {job}")
    if earlier_settings(run):
        return Status(run, "outdated", message="started before with other settings")
    if has_stale_result(run):  # the run evaluated an earlier training
        return Status(run, "waiting")
    if (folder / "failed.json").exists():
        try:
            message = str(read_json(folder / "failed.json").get("message", "no message"))
        except InputError as unread:
            message = str(unread)
        return Status(run, "failed", progress, message=message)
    return Status(run, "interrupted" if progress else "waiting", progress)


def earlier_settings(run: PlannedRun) -> dict[str, Any] | None:
    """Return the settings of an earlier start; None if they equal the run's settings.

    Nothing is known of a broken run.
    """
    task = run.folder / "run.json"
    if not task.exists() or broken(run):
        return None
    settings = read_json(task).get("settings")
    settings = settings if isinstance(settings, dict) else {}
    return None if settings == run.settings else settings


def _progress(folder: Path) -> tuple[str, float | None]:
    logs = sorted(folder.glob("*/*.log"))
    if not logs:
        return "", None
    with open(logs[-1], "rb") as file:
        file.seek(max(0, logs[-1].stat().st_size - 8192))
        found = list(PROGRESS.finditer(file.read().decode(errors="replace")))
    if not found:
        return "", None
    last = found[-1]
    part = f"{last['step']}/{last['steps']}"
    if last["phase"] != "train":
        return f"{last['phase']} {part}", None
    left: float | None = None
    if last["eta"]:
        hours, minutes, seconds = map(int, last["eta"].split(":"))
        left = 86400 * int(last["days"] or 0) + 3600 * hours + 60 * minutes + seconds
        left = max(0.0, left - (time.time() - logs[-1].stat().st_mtime))
    return (f"epoch {last['epoch']}, {part}" if last["epoch"] else part), left


def time_left(plan: Plan, statuses: Sequence[Status], workers: int) -> float | None:
    """Return the seconds until all runs have ended; None if unknown.

    A run without an estimate counts with the mean time of the finished runs.
    """
    took = [result["seconds"] for runs in read_results(plan).values() for result in runs.values()]
    ahead = pending(statuses)
    if not ahead:
        return 0.0
    if not took and any(state.left is None for state in ahead):
        return None
    typical = statistics.mean(took) if took else 0.0
    total = sum(typical if state.left is None else state.left for state in ahead)
    return total / min(workers, len(ahead))


def duration(seconds: float | None) -> str:
    """Return seconds as 1:02:03; "" for None."""
    return "" if seconds is None else str(timedelta(seconds=round(seconds)))


def status_table(plan: Plan, workers: int) -> Table:
    """Return a table for the terminal: a summary, and a row for each run."""
    from rich.table import Table
    from rich.text import Text

    statuses = [status(run) for run in plan.runs]
    results = read_results(plan)
    title = next(iter(plan.metrics))
    counts = {name: sum(state.state == name for state in statuses) for name in COLORS}
    left = duration(time_left(plan, statuses, workers))
    summary = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
    table = Table(
        title=f"{plan.name}: {len(statuses)} runs{': ' if summary else ''}{summary}",
        caption=f"about {left} left" if left and pending(statuses) else None,
        title_justify="left",
    )
    for column in ("variant", "seed", "state", "progress", "left", title):
        table.add_column(column, justify="right" if column in ("seed", "left", title) else "left")
    for state in statuses:
        name = state.run.variant.name
        result = results.get(name, {}).get(state.run.seed)
        score = scores({name: {state.run.seed: result}} if result else {}, state.run.variant, title)
        table.add_row(
            name,
            str(state.run.seed),
            Text(state.state, style=COLORS.get(state.state, "")),
            state.message or state.progress,
            duration(state.left),
            mean_and_deviation(score),
        )
    return table


def pending(statuses: Sequence[Status]) -> list[Status]:
    """Return the runs that have not ended."""
    states = ("waiting", "interrupted", "queued", "running")
    return [state for state in statuses if state.state in states]
