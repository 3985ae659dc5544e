"""How far the runs of a sweep are."""

from __future__ import annotations

import json
import re
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sweep_cluster import queued_jobs, read_job
from sweep_plan import Plan, Run
from sweep_results import has_stale_result, mean_and_spread, read_results, result_of, scores
from sweep_run import is_running

if TYPE_CHECKING:
    from rich.table import Table

COLORS = dict(
    finished="green",
    running="cyan",
    queued="blue",
    failed="red",
    outdated="red",
    interrupted="yellow",
)
PROGRESS = re.compile(
    r"(?:Epoch|Iter)\((?P<phase>\w+)\)\s+(?:\[(?P<epoch>\d+)\])?\[\s*(?P<step>\d+)/(?P<steps>\d+)\]"
    r"(?:.*?\beta: (?:(?P<days>\d+) days?, )?(?P<eta>\d+:\d\d:\d\d))?"
)


@dataclass(frozen=True)
class Status:
    """A run's state: finished, running, queued, failed, outdated, interrupted, waiting.

    Outdated is what was begun with other settings.

    Attributes:
        progress: what its log says, as ``epoch 3/8``.
        left: seconds, as its log estimates them; None if it does not.
        message: of a failure.
    """

    run: Run
    state: str
    progress: str = ""
    left: float | None = None
    message: str = ""


def status(run: Run) -> Status:
    """The state of a run by what lies in its folder."""
    folder = run.folder
    if result_of(run) is not None:
        return Status(run, "finished")
    progress, left = _progress(folder)
    if is_running(folder):
        return Status(run, "running", progress, left)
    job = read_job(folder)
    if job is not None and job in queued_jobs():
        return Status(run, "queued", f"job {job}")
    if begun_otherwise(run):
        return Status(run, "outdated", message="begun with other settings")
    if has_stale_result(run):  # an evaluation of another training
        return Status(run, "waiting")
    if (folder / "failed.json").exists():
        failed = json.loads((folder / "failed.json").read_text())
        return Status(run, "failed", progress, message=failed["message"])
    return Status(run, "interrupted" if progress else "waiting", progress)


def begun_otherwise(run: Run) -> dict[str, Any] | None:
    """The settings that a run was begun with, if they are others than the run's."""
    begun = run.folder / "run.json"
    if not begun.exists():
        return None
    settings = json.loads(begun.read_text()).get("settings", {})
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
    """Seconds until all is done, if what waits takes as long as what is finished; None: unknown."""
    took = [result["seconds"] for runs in read_results(plan).values() for result in runs.values()]
    ahead = pending(statuses)
    if not ahead:
        return 0.0
    if not took and any(one.left is None for one in ahead):
        return None
    typical = statistics.mean(took) if took else 0.0
    total = sum(typical if one.left is None else one.left for one in ahead)
    return total / min(workers, len(ahead))


def duration(seconds: float | None) -> str:
    """As 1:02:03; empty if unknown."""
    return "" if seconds is None else str(timedelta(seconds=round(seconds)))


def status_table(plan: Plan, workers: int) -> Table:
    """A table for the terminal: a row a run, and a summary."""
    from rich.table import Table
    from rich.text import Text

    statuses = [status(run) for run in plan.runs]
    results = read_results(plan)
    title = next(iter(plan.metrics))
    counts = {state: sum(one.state == state for one in statuses) for state in COLORS}
    left = duration(time_left(plan, statuses, workers))
    summary = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
    table = Table(
        title=f"{plan.name}: {len(statuses)} runs{': ' if summary else ''}{summary}",
        caption=f"about {left} left" if left and pending(statuses) else None,
        title_justify="left",
    )
    for column in ("variant", "seed", "state", "progress", "left", title):
        table.add_column(column, justify="right" if column in ("seed", "left", title) else "left")
    for one in statuses:
        name = one.run.variant.name
        result = results.get(name, {}).get(one.run.seed)
        score = scores({name: {one.run.seed: result}} if result else {}, one.run.variant, title)
        table.add_row(
            name,
            str(one.run.seed),
            Text(one.state, style=COLORS.get(one.state, "")),
            one.message or one.progress,
            duration(one.left),
            mean_and_spread(score),
        )
    return table


def pending(statuses: Sequence[Status]) -> list[Status]:
    """What is still to be done."""
    states = ("waiting", "interrupted", "queued", "running")
    return [one for one in statuses if one.state in states]
