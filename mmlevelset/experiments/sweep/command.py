"""Run a table of experiments, each variant with several seeds, and make the table.

    python tools/sweep.py levelset-rcnn_table4_small
    python tools/sweep.py SWEEP --status          # from another terminal, at any time
    python tools/sweep.py SWEEP --cluster slurm --slurm slurm_partition=gpu timeout_min=1440

Each run has its own folder in the work dir, <variant>_seed<number>, with config, log, checkpoints
and result.json. Finished runs are skipped. An interrupted run goes on from its latest checkpoint.
A failed run does not stop the others, and the next call tries it again. The sweep's folder gets
table.md, table.csv, table.tex, scores.png and losses.png. A run that a sweep in a neighbouring
folder has finished with the same settings is linked, not repeated.

mmlevelset/experiments/sweep/plan.py describes the sweep file.
"""

from __future__ import annotations

import argparse
import difflib
import shlex
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from mmlevelset.errors import InputError, exit_on_input_error
from mmlevelset.experiments.sweep.cluster import make_executor, submit_runs
from mmlevelset.experiments.sweep.folders import check_earlier, link_finished, prepare
from mmlevelset.experiments.sweep.local import do_runs, gpu_slots, is_ready
from mmlevelset.experiments.sweep.plan import Plan, PlannedRun, read_plan
from mmlevelset.experiments.sweep.results import (
    SWEEPS,
    left_out,
    name_of,
    shown,
    write_results,
)
from mmlevelset.experiments.sweep.status import pending, status, status_table


def parse(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sweep", type=Path, help="a file, or the name of a file in configs/sweeps")
    parser.add_argument("--work-dir", type=Path, help="[work_dirs/sweeps/NAME OF THE FILE]")
    parser.add_argument(
        "--only", nargs="+", default=[], metavar="VARIANT", help="variants to run, as names or b*"
    )
    parser.add_argument(
        "--seeds", nargs="+", type=int, help="the seeds, in place of the file's seeds"
    )
    action = parser.add_mutually_exclusive_group()
    action.add_argument("--dry-run", action="store_true", help="check all, list the runs")
    action.add_argument("--status", action="store_true", help="show the states of the runs")
    action.add_argument(
        "--watch", action="store_true", help="show the states of the runs until all have ended"
    )
    action.add_argument("--table", action="store_true", help="write the table of finished runs")
    parser.add_argument(
        "--workers", type=int, help="runs at a time, here [one a GPU; one on a CPU]"
    )
    parser.add_argument(
        "--gpus-per-run", type=int, default=1, metavar="N", help="GPUs of a run [1]"
    )
    parser.add_argument(
        "--cluster",
        choices=["slurm", "local"],
        help="submit all runs through submitit: to SLURM, or to its stand-in on this machine",
    )
    parser.add_argument(
        "--nodes-per-run",
        type=int,
        default=1,
        metavar="N",
        help="nodes of a run, with --cluster slurm [1]",
    )
    parser.add_argument(
        "--slurm",
        nargs="+",
        default=[],
        metavar="KEY=VALUE",
        help="submitit's parameters: timeout_min=1440 slurm_partition=gpu cpus_per_task=8",
    )
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None) -> None:
    arguments = parse(words)
    with exit_on_input_error("sweep.py"):
        sys.exit(sweep(arguments))


def find(path: Path) -> Path:
    """Return the sweep file with this path, or with this name in configs/sweeps.

    Raises:
        InputError: the file does not exist.
    """
    if path.is_file():
        return path
    ours = SWEEPS / f"{path.stem}.py"
    if path.parent in (Path(), Path("configs/sweeps")) and ours.is_file():
        return ours
    names = [file.stem for file in SWEEPS.glob("*.py")]
    near = difflib.get_close_matches(path.stem, names, 1)
    hint = f"; did you mean {near[0]}?" if near else ""
    raise InputError(f"the sweep file {path} does not exist{hint}")


def sweep(arguments: argparse.Namespace) -> int:
    """Run the sweep, or show its states or its table; return the exit code.

    The code is 0, or 1 if a run is not finished at the end, or 130 after a signal.
    """
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
        show(plan, arguments)
        return 0
    if arguments.table:
        print(write_results(plan) or "\n".join(["no run is finished", *left_out(plan)]))
        return 0
    check_earlier(plan)
    if arguments.dry_run:
        for run in plan.runs:
            print(f"{status(run).state:12} {shown(run.folder)}")
        return 0
    folder.mkdir(parents=True, exist_ok=True)
    link_finished(plan, arguments)
    unfinished = [run for run in plan.runs if status(run).state != "finished"]
    count = len(plan.runs) - len(unfinished)
    print(f"{plan.name}: {len(plan.runs)} runs, {count} finished", flush=True)
    running = [run.name for run in unfinished if status(run).state == "running"]
    if running:
        print(f"started by another call and still running: {', '.join(running)}", flush=True)
    if arguments.cluster:
        submit(plan, unfinished, arguments)
        return 0
    interrupted = not do_runs(plan, unfinished, gpu_slots(arguments), arguments)
    return end(plan, interrupted)


def show(plan: Plan, arguments: argparse.Namespace) -> None:
    """Print the states of the runs, once or until all have ended."""
    from rich.console import Console
    from rich.live import Live

    workers = arguments.workers or 1
    chosen = {run.name for run in plan.runs}
    if not arguments.only and arguments.seeds is None:
        plan = replace(plan, runs=plan.table_runs)
    if arguments.status:
        Console().print(status_table(plan, workers))
        return
    with Live(status_table(plan, workers), refresh_per_second=2) as live:
        try:
            while any(
                state.run.name in chosen or state.state in ("running", "queued")
                for state in pending([status(run) for run in plan.runs])
            ):
                time.sleep(5)
                live.update(status_table(plan, workers))
        except KeyboardInterrupt:
            pass


def end(plan: Plan, interrupted: bool) -> int:
    """Write table and plots, print the table and the unfinished runs; return the exit code."""
    table = write_results(plan)
    if table:
        print(f"\n{table}\n{shown(plan.folder)}: table.md, .csv, .tex, scores.png")
    unfinished = [state for state in map(status, plan.runs) if state.state != "finished"]
    for state in unfinished:
        print(f"{state.run.name}: {state.state} {state.message or state.progress}".rstrip())
    return 130 if interrupted else int(bool(unfinished))


def submit(plan: Plan, unfinished: Sequence[PlannedRun], arguments: argparse.Namespace) -> None:
    """Submit the runs through submitit. A SLURM job that is cut off is queued again."""
    busy = [run for run in unfinished if status(run).state in ("running", "queued", "broken")]
    ready = [run for run in unfinished if run not in busy and is_ready(run)]
    for training in (True, False):
        runs = [run for run in ready if run.trains == training]
        if not runs:
            continue
        executor = make_executor(plan, arguments, training)
        for run in runs:
            prepare(run, arguments)
        for run, job in zip(runs, submit_runs(executor, runs), strict=True):
            print(f"{run.name}: job {job}")
    later = len(unfinished) - len(busy) - len(ready)
    if later:
        print(
            f"{later} runs need the checkpoints of unfinished runs: repeat this command after them"
        )
    words = [name_of(plan.file)]
    if arguments.work_dir:
        words += ["--work-dir", str(arguments.work_dir)]
    for option, values in (("--only", arguments.only), ("--seeds", arguments.seeds)):
        words += [option, *map(str, values)] if values else []
    print(f"to see the states of the runs: python tools/sweep.py {shlex.join(words)} --watch")
