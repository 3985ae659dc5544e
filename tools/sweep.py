"""Run a table of experiments, each variant with several seeds, and make the table.

    python tools/sweep.py levelset-rcnn_table4_small
    python tools/sweep.py SWEEP --status          # from another terminal, at any time
    python tools/sweep.py SWEEP --cluster slurm --slurm slurm_partition=gpu timeout_min=1440

Each run has a folder of its own in the work dir, <variant>_seed<number>, with config, log,
checkpoints and result.json. What is finished is skipped, what was interrupted goes on from its
latest checkpoint, what failed is tried again by the next call and does not stop the rest. The
sweep's folder gets table.md, table.csv, table.tex, scores.png and losses.png. A run that another
sweep beside this one has finished with the same config is linked, not repeated.

tools/sweep_plan.py says what a sweep file holds.
"""

from __future__ import annotations

import argparse
import difflib
import json
import os
import platform
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any

from sweep_cluster import make_executor, submit_runs
from sweep_plan import Plan, Run, read_plan
from sweep_results import (
    SWEEPS,
    has_stale_result,
    left_out,
    name_of,
    result_of,
    shown,
    write_results,
)
from sweep_run import BUSY, holder
from sweep_status import begun_otherwise, duration, pending, status, status_table, time_left

from mmlevelset.errors import InputError
from mmlevelset.files import write_json

TOOLS = Path(__file__).resolve().parent
GPUS = "CUDA_VISIBLE_DEVICES"
Active = dict[int, tuple[Run, subprocess.Popen, dict[str, str], float]]
"""Runs that go on, their slots and when they were started, by process."""


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sweep", type=Path, help="a file, or the name of one in configs/sweeps")
    parser.add_argument("--work-dir", type=Path, help="[work_dirs/sweeps/NAME OF THE FILE]")
    parser.add_argument("--only", nargs="+", default=[], metavar="VARIANT", help="as b* too")
    parser.add_argument("--seeds", nargs="+", type=int, help="in place of the file's")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--dry-run", action="store_true", help="check all, say what would run")
    what.add_argument("--status", action="store_true", help="show how far it is, and end")
    what.add_argument("--watch", action="store_true", help="show how far it is, until the end")
    what.add_argument("--table", action="store_true", help="write the table of what is finished")
    parser.add_argument(
        "--workers", type=int, help="runs at a time, here [one a GPU; one on a CPU]"
    )
    parser.add_argument("--gpus-per-run", type=int, default=1, metavar="N", help="[1]")
    parser.add_argument(
        "--cluster",
        choices=["slurm", "local"],
        help="hand all runs to submitit: SLURM, or its stand-in on this machine",
    )
    parser.add_argument(
        "--nodes-per-run", type=int, default=1, metavar="N", help="with --cluster slurm [1]"
    )
    parser.add_argument(
        "--slurm",
        nargs="+",
        default=[],
        metavar="KEY=VALUE",
        help="submitit's parameters: timeout_min=1440 slurm_partition=gpu cpus_per_task=8",
    )
    parser.add_argument("--report", action="store_true", help="make report.html at the end")
    return parser.parse_args()


def main() -> None:
    arguments = parse()
    try:
        sys.exit(sweep(arguments))
    except InputError as error:
        print(f"sweep.py: error: {error}", file=sys.stderr)
        sys.exit(2)


def find(said: Path) -> Path:
    """The sweep file of this path, or of this name among the package's own.

    Raises:
        InputError: there is none.
    """
    if said.is_file():
        return said
    ours = SWEEPS / f"{said.stem}.py"
    if said.parent in (Path(), Path("configs/sweeps")) and ours.is_file():
        return ours
    names = [path.stem for path in SWEEPS.glob("*.py")]
    near = difflib.get_close_matches(said.stem, names, 1)
    hint = f"; did you mean {near[0]}?" if near else ""
    raise InputError(f"the sweep file {said} does not exist{hint}")


def sweep(arguments: argparse.Namespace) -> int:
    for name in ("workers", "gpus_per_run", "nodes_per_run"):
        value = getattr(arguments, name)
        if value is not None and value < 1:
            raise InputError(f"--{name.replace('_', '-')} must be at least 1, and was {value}")
    if arguments.nodes_per_run > 1 and arguments.cluster != "slurm":
        raise InputError("--nodes-per-run needs --cluster slurm")
    if arguments.slurm and not arguments.cluster:
        raise InputError("--slurm needs --cluster")
    file = find(arguments.sweep)
    folder = (arguments.work_dir or Path("work_dirs/sweeps", file.stem)).absolute()
    plan = read_plan(file, folder, arguments.only, arguments.seeds)
    if arguments.status or arguments.watch:
        return show(plan, arguments)
    if arguments.table:
        print(write_results(plan) or "\n".join(["no run is finished", *left_out(plan)]))
        return 0
    check_earlier(plan)
    if arguments.dry_run:
        for run in plan.runs:
            print(f"{status(run).state:12} {shown(run.folder)}")
        return 0
    folder.mkdir(parents=True, exist_ok=True)
    reuse(plan, arguments)
    todo = [run for run in plan.runs if status(run).state != "finished"]
    print(f"{plan.name}: {len(plan.runs)} runs, {len(plan.runs) - len(todo)} finished", flush=True)
    going = [run.name for run in todo if status(run).state == "running"]
    if going:
        print(f"begun by another call and still going on: {', '.join(going)}", flush=True)
    if arguments.cluster:
        return submit(plan, todo, arguments)
    interrupted = not work(plan, todo, gpu_slots(arguments), arguments)
    return end(plan, arguments, interrupted)


def show(plan: Plan, arguments: argparse.Namespace) -> int:
    from rich.console import Console
    from rich.live import Live

    workers = arguments.workers or 1
    chosen = {run.name for run in plan.runs}
    if not arguments.only and arguments.seeds is None:
        plan = replace(plan, runs=plan.table_runs)
    if arguments.status:
        Console().print(status_table(plan, workers))
        return 0
    with Live(status_table(plan, workers), refresh_per_second=2) as live:
        try:
            while any(
                one.run.name in chosen or one.state in ("running", "queued")
                for one in pending([status(run) for run in plan.runs])
            ):
                time.sleep(5)
                live.update(status_table(plan, workers))
        except KeyboardInterrupt:
            pass
    return 0


def check_earlier(plan: Plan) -> None:
    """What lies in the runs' folders must have been begun with the same settings."""
    others = []
    for run in plan.runs:
        before = begun_otherwise(run)
        if before is not None:
            others.append(f"{shown(run.folder)} ({differences(before, run.settings)})")
    if others:
        raise InputError(
            "begun with other settings: "
            + ", ".join(others)
            + "; move these folders away, or choose another --work-dir"
        )


def differences(before: dict, now: dict) -> str:
    """The first few keys whose values differ, with both."""
    old, new = flat(before), flat(now)
    keys = [key for key in {**old, **new} if old.get(key) != new.get(key)]
    told = [f"{key}: {old.get(key, 'none')} -> {new.get(key, 'none')}" for key in keys[:4]]
    return "; ".join([*told, f"{len(keys) - 4} more"] if len(keys) > 4 else told)


def flat(settings: Any, name: str = "") -> dict[str, str]:
    """Nested dicts and lists as one dict of dotted keys, those of the config without its name."""
    inner: Iterable[tuple[Any, Any]] = ()
    if isinstance(settings, dict):
        inner = settings.items()
    elif isinstance(settings, list):
        inner = enumerate(settings)
    found: dict[str, str] = {}
    for key, value in inner:
        found |= flat(value, f"{name}.{key}" if name else str(key))
    return found or {name.removeprefix("config."): json.dumps(settings)}


def reuse(plan: Plan, arguments: argparse.Namespace) -> None:
    """Link what a sweep beside this one has trained with the same settings and processes."""
    known = {}
    for file in sorted(plan.folder.parent.glob("*/*_seed*/result.json")):
        if file.parent.parent != plan.folder and not file.parent.is_symlink():
            result = json.loads(file.read_text())
            known[result["fingerprint"], result.get("processes")] = file.parent
    for run in plan.runs:
        if run.folder.is_symlink() and not run.folder.exists():
            run.folder.unlink()  # that sweep has been removed
        other = known.get((run.fingerprint, processes(run, arguments)))
        if other and run.source is None and not run.folder.exists():
            run.folder.symlink_to(os.path.relpath(other, plan.folder))
            print(f"{run.name}: the same as {shown(other)}")


def processes(run: Run, arguments: argparse.Namespace) -> int:
    return arguments.gpus_per_run * arguments.nodes_per_run if run.trains else 1


def prepare(run: Run, arguments: argparse.Namespace) -> None:
    """Write what sweep_run.py needs into the run's folder."""
    run.folder.mkdir(parents=True, exist_ok=True)
    text = run.folder / ".config.py"
    text.write_text(run.config.pretty_text)
    text.replace(run.folder / "config.py")
    if has_stale_result(run):
        (run.folder / "result.json").unlink()
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
            command=run.variant.command,
            arguments=list(run.variant.arguments),
            launcher=launcher,
            gpus=arguments.gpus_per_run,
            processes=processes(run, arguments),
        ),
    )


def gpu_slots(arguments: argparse.Namespace) -> list[dict[str, str]]:
    """For each run at a time the environment that gives it its GPUs, or its share of the cores."""
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


def work(
    plan: Plan,
    todo: Sequence[Run],
    slots: Sequence[dict[str, str]],
    arguments: argparse.Namespace,
) -> bool:
    """Do all runs, as many at a time as there are slots; False if it was interrupted."""
    waiting = list(todo)
    free = list(slots)
    active: Active = {}
    ended: set[str] = set()
    with interruptible() as asked_to_stop, display(plan, len(slots)) as refresh:
        while waiting or active:
            for pid, (run, process, slot, started) in list(active.items()):
                if process.poll() is None:
                    continue
                del active[pid]
                free.append(slot)
                if process.returncode == BUSY:  # someone else has begun it in the meantime
                    waiting.append(run)
                    continue
                ended.add(run.name)
                tell(plan, run, time.monotonic() - started, len(slots))
                if process.returncode == 0:
                    try:
                        write_results(plan)
                    except Exception as error:  # the runs that wait matter more
                        print(f"sweep.py: warning: no table yet: {error!r}", file=sys.stderr)
            if asked_to_stop:
                for _, process, _, _ in active.values():
                    process.terminate()
                for _, process, _, _ in active.values():
                    process.wait()
                return False
            usable = not_taken(plan, free, active, len(slots)) if free and waiting else []
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
            for run in [run for run in waiting if is_blocked(run, ended)]:
                waiting.remove(run)
                print(f"{run.name}: left out, as {run.source.name} has no result", flush=True)
            refresh()
            time.sleep(0.5)
    return True


def not_taken(
    plan: Plan, free: Sequence[dict[str, str]], active: Active, slots: int
) -> list[dict[str, str]]:
    """The free slots that runs leave which an earlier call has begun, and which still go on."""
    ours = {run.name for run, _, _, _ in active.values()}
    holders = [holder(run.folder) for run in plan.table_runs if run.name not in ours]
    here = [one["devices"].split(",") for one in holders if one and one["host"] == platform.node()]
    if free[0].get(GPUS) is None:
        return list(free[: max(0, slots - len(active) - len(here))])
    taken = {device for devices in here for device in devices}
    return [slot for slot in free if taken.isdisjoint(slot[GPUS].split(","))]


def is_ready(run: Run) -> bool:
    """Whether nobody is at the run and what it evaluates is there."""
    if status(run).state in ("running", "queued"):
        return False
    return run.source is None or result_of(run.source) is not None


def is_blocked(run: Run, ended: set[str]) -> bool:
    """Whether the run that it evaluates has failed."""
    return run.source is not None and run.source.name in ended and result_of(run.source) is None


def start(run: Run, slot: dict[str, str]) -> subprocess.Popen:
    """sweep_run.py in a session of its own, so that Ctrl-C reaches it through us alone."""
    return subprocess.Popen(
        [sys.executable, str(TOOLS / "sweep_run.py"), str(run.folder)],
        env={**os.environ, **slot},
        start_new_session=True,
        stdin=subprocess.DEVNULL,
    )


def tell(plan: Plan, run: Run, seconds: float, workers: int) -> None:
    """One line on a run that ended."""
    now = status(run)
    statuses = [status(other) for other in plan.runs]
    left = duration(time_left(plan, statuses, workers))
    done = sum(one.state == "finished" for one in statuses)
    words = f"{now.state} after {duration(seconds)}"
    if now.message:
        words += f": {now.message}"
    rest = f"; {done} of {len(statuses)} finished" + (f", about {left} left" if left else "")
    print(f"{run.name}: {words}{rest}", flush=True)


@contextmanager
def interruptible() -> Iterator[list[int]]:
    """A list that gets the signal's number on Ctrl-C or SIGTERM."""
    asked: list[int] = []

    def note(number: int, _: FrameType | None) -> None:
        asked.append(number)

    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, note) for number in numbers}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def display(plan: Plan, workers: int):
    """A live table on a terminal; nothing elsewhere, where the lines of each run must do."""
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


def end(plan: Plan, arguments: argparse.Namespace, interrupted: bool) -> int:
    """Table, plots and report; the exit code: 0, 1 where not all is finished, 130 on a signal."""
    table = write_results(plan)
    if table:
        print(f"\n{table}\n{shown(plan.folder)}: table.md, .csv, .tex, scores.png")
    failed = [one for one in map(status, plan.runs) if one.state != "finished"]
    for one in failed:
        print(f"{one.run.name}: {one.state} {one.message or one.progress}".rstrip())
    if arguments.report and table and not interrupted:
        folders = [str(run.folder) for run in plan.table_runs if result_of(run) is not None]
        report = [sys.executable, str(TOOLS / "report.py"), *folders]
        subprocess.run([*report, "--out", str(plan.folder / "report.html")], check=True)
    return 130 if interrupted else int(bool(failed))


def submit(plan: Plan, todo: Sequence[Run], arguments: argparse.Namespace) -> int:
    """Hand the runs to submitit and end; a SLURM job that is cut off is queued again."""
    busy = [run for run in todo if status(run).state in ("running", "queued")]
    ready = [run for run in todo if run not in busy and is_ready(run)]
    for training in (True, False):
        runs = [run for run in ready if run.trains == training]
        if not runs:
            continue
        executor = make_executor(plan, arguments, training)
        for run in runs:
            prepare(run, arguments)
        for run, job in zip(runs, submit_runs(executor, runs), strict=True):
            print(f"{run.name}: job {job}")
    later = len(todo) - len(busy) - len(ready)
    if later:
        print(f"{later} runs evaluate others that are not finished: call this again then")
    words = [name_of(plan.file)]
    if arguments.work_dir:
        words += ["--work-dir", str(arguments.work_dir)]
    for option, values in (("--only", arguments.only), ("--seeds", arguments.seeds)):
        words += [option, *map(str, values)] if values else []
    print(f"see how far it is: python tools/sweep.py {shlex.join(words)} --watch")
    return 0


if __name__ == "__main__":
    main()
