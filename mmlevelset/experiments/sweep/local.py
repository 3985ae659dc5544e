"""The runs of a sweep on this machine, as many at a time as there are slots."""

from __future__ import annotations

import argparse
import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

from mmlevelset.errors import InputError
from mmlevelset.experiments.sweep.folders import prepare
from mmlevelset.experiments.sweep.plan import Plan, PlannedRun
from mmlevelset.experiments.sweep.results import result_of, write_results
from mmlevelset.experiments.sweep.run import BUSY, holder, run_command
from mmlevelset.experiments.sweep.status import duration, status, status_table, time_left

GPUS = "CUDA_VISIBLE_DEVICES"
Slot = dict[str, str]
"""The environment that gives a run its GPUs, or its share of the cores."""
Active = dict[int, tuple[PlannedRun, subprocess.Popen, Slot, float]]
"""Process id -> an active run, its process, its slot, the time of its start."""


def gpu_slots(arguments: argparse.Namespace) -> list[Slot]:
    """Return a slot for each of the runs that go on at the same time."""
    import torch

    count = torch.cuda.device_count()
    needed = arguments.gpus_per_run
    if not count:
        workers = arguments.workers or 1
        threads = max(1, len(os.sched_getaffinity(0)) // (workers * needed))
        return [dict(OMP_NUM_THREADS=os.environ.get("OMP_NUM_THREADS", str(threads)))] * workers
    visible = os.environ.get(GPUS)
    devices = visible.split(",") if visible else [str(number) for number in range(count)]
    workers = arguments.workers or count // needed
    if workers * needed > count:
        raise InputError(
            f"--workers {workers} times --gpus-per-run {needed} is more than the {count} GPUs here"
        )
    return [
        {GPUS: ",".join(devices[slot * needed : (slot + 1) * needed])} for slot in range(workers)
    ]


def do_runs(
    plan: Plan, runs: Sequence[PlannedRun], slots: Sequence[Slot], arguments: argparse.Namespace
) -> bool:
    """Do all runs; return False if a signal interrupted them."""
    waiting = list(runs)
    free = list(slots)
    active: Active = {}
    ended: set[str] = set()
    told = False
    with signals() as received, display(plan, len(slots)) as refresh:
        while waiting or active:
            for pid, (run, process, slot, started) in list(active.items()):
                if process.poll() is None:
                    continue
                del active[pid]
                free.append(slot)
                if process.returncode == BUSY:  # another process has started the run
                    waiting.append(run)
                    continue
                ended.add(run.name)
                print_end(plan, run, time.monotonic() - started, len(slots))
                if process.returncode == 0:
                    try:
                        write_results(plan)
                    except Exception as error:  # the waiting runs matter more than the table
                        print(f"sweep.py: warning: no table yet: {error!r}", file=sys.stderr)
            if received:
                for _, process, _, _ in active.values():
                    process.terminate()
                for _, process, _, _ in active.values():
                    process.wait()
                return False
            usable = usable_slots(plan, free, active, len(slots)) if free and waiting else []
            if free and waiting and not usable and not active and not told:
                told = True
                print(
                    "waiting: runs of an earlier call take the places of"
                    f" --workers {len(slots)}; a larger number starts runs beside them",
                    flush=True,
                )
            for run in [run for run in waiting if is_ready(run)]:
                if not usable:
                    break
                waiting.remove(run)
                if status(run).state == "finished":
                    continue
                slot = usable.pop(0)
                free.remove(slot)
                prepare(run, arguments)
                process = start(run, slot)
                active[process.pid] = run, process, slot, time.monotonic()
                print(f"{run.name}: started", flush=True)
            for run in list(waiting):
                source = run.source
                if status(run).state == "broken":
                    waiting.remove(run)
                    print(f"{run.name}: left out, {status(run).message}", flush=True)
                    continue
                if source is not None and status(source).state == "broken":
                    waiting.remove(run)
                    print(f"{run.name}: left out, as {source.name} is broken", flush=True)
                    continue
                if source is not None and source.name in ended and result_of(source) is None:
                    waiting.remove(run)
                    print(f"{run.name}: left out, as {source.name} has no result", flush=True)
            refresh()
            time.sleep(0.5)
    return True


def usable_slots(plan: Plan, free: Sequence[Slot], active: Active, slots: int) -> list[Slot]:
    """Return the free slots that no run of an earlier call still uses."""
    ours = {run.name for run, _, _, _ in active.values()}
    holders = [holder(run.folder) for run in plan.table_runs if run.name not in ours]
    here = [found["devices"] for found in holders if found and found["host"] == platform.node()]
    if free[0].get(GPUS) is None:
        return list(free[: max(0, slots - len(active) - len(here))])
    taken = {device for devices in here for device in devices.split(",")}
    return [slot for slot in free if taken.isdisjoint(slot[GPUS].split(","))]


def is_ready(run: PlannedRun) -> bool:
    """Return whether a run can start: no process works at it, and its source is finished."""
    if status(run).state in ("running", "queued", "broken"):
        return False
    return run.source is None or result_of(run.source) is not None


def start(run: PlannedRun, slot: Slot) -> subprocess.Popen:
    """Start a run in its own session.

    So Ctrl-C reaches the sweep alone, and the sweep ends the run.
    """
    return subprocess.Popen(
        run_command(run.folder),
        env={**os.environ, **slot},
        start_new_session=True,
        stdin=subprocess.DEVNULL,
    )


def print_end(plan: Plan, run: PlannedRun, seconds: float, workers: int) -> None:
    """Print a line on a run that has ended."""
    now = status(run)
    statuses = [status(other) for other in plan.runs]
    left = duration(time_left(plan, statuses, workers))
    count = sum(state.state == "finished" for state in statuses)
    words = f"{now.state} after {duration(seconds)}"
    if now.message:
        words += f": {now.message}"
    rest = f"; {count} of {len(statuses)} finished" + (f", about {left} left" if left else "")
    print(f"{run.name}: {words}{rest}", flush=True)


@contextmanager
def signals() -> Iterator[list[int]]:
    """Yield a list that collects SIGINT (Ctrl-C) and SIGTERM, in place of their usual effect."""
    received: list[int] = []

    def note(number: int, _: FrameType | None) -> None:
        received.append(number)

    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, note) for number in numbers}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def display(plan: Plan, workers: int) -> Iterator[Callable[[], None]]:
    """Show a live table on a terminal, and yield the function that refreshes it.

    Without a terminal there is no table: each run prints its lines.
    """
    from rich.console import Console
    from rich.live import Live

    console = Console()
    if not console.is_terminal:
        yield lambda: None
        return
    with Live(status_table(plan, workers), console=console, refresh_per_second=1) as live:
        shown_at = time.monotonic()

        def refresh() -> None:
            nonlocal shown_at
            if time.monotonic() - shown_at > 2:
                live.update(status_table(plan, workers))
                shown_at = time.monotonic()

        yield refresh
