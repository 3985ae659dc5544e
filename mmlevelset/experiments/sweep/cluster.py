"""The runs of a sweep as jobs of submitit: on SLURM, or its stand-in on this machine."""

from __future__ import annotations

import argparse
import ast
import getpass
import subprocess
import time
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from mmlevelset.errors import InputError
from mmlevelset.experiments.sweep.plan import Plan, PlannedRun
from mmlevelset.experiments.sweep.run import run_command


class Job:
    """Does a run. A job that SLURM cuts off is queued again, and its run goes on."""

    def __init__(self, folder: Path) -> None:
        self.command = run_command(folder)

    def __call__(self) -> None:
        subprocess.run(self.command, check=True)

    def checkpoint(self) -> Any:
        """Return the job to queue again, at pre-emption and at the time limit."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


def make_executor(plan: Plan, arguments: argparse.Namespace, training: bool) -> Any:
    """Return submitit's executor for the trainings of a sweep, or for its evaluations.

    An evaluation runs in one process.

    Raises:
        InputError: submitit is missing, or does not know a parameter or the cluster.
    """
    try:
        import submitit
    except ImportError as error:
        raise InputError("--cluster needs submitit: pip install submitit") from error
    nodes = arguments.nodes_per_run if training else 1
    gpus = arguments.gpus_per_run if training else 1
    parameters: dict[str, Any] = dict(
        name=plan.name, nodes=nodes, tasks_per_node=gpus if nodes > 1 else 1
    )
    if arguments.cluster == "slurm":
        parameters["gpus_per_node"] = gpus
    parameters |= _parameters(arguments.slurm)
    try:
        executor = submitit.AutoExecutor(plan.folder / "submitit", cluster=arguments.cluster)
        executor.update_parameters(**parameters)
    except (NameError, TypeError, RuntimeError, ValueError) as error:
        raise InputError(f"--cluster {arguments.cluster}: {error}") from error
    return executor


def submit_runs(executor: Any, runs: Sequence[PlannedRun]) -> list[str]:
    """Submit runs as one job array; return the ids of the jobs.

    The folders of the runs must be prepared.

    Raises:
        InputError: the cluster refuses the runs.
    """
    try:
        with executor.batch():
            jobs = [executor.submit(Job(run.folder)) for run in runs]
    except RuntimeError as error:
        raise InputError(f"--cluster {executor.cluster}: {error}") from error
    for run, job in zip(runs, jobs, strict=True):
        (run.folder / "job").write_text(f"{job.job_id}\n")
    return [job.job_id for job in jobs]


def read_job(folder: Path) -> str | None:
    """Return the id of a run's last job."""
    file = folder / "job"
    return file.read_text(errors="replace").strip() if file.exists() else None


def queued_jobs() -> frozenset[str]:
    """Return the ids of this user's jobs in SLURM's queue; none without SLURM."""
    return _queued_jobs(int(time.monotonic() / 10))  # asks SLURM every ten seconds at most


@lru_cache(1)
def _queued_jobs(_: int) -> frozenset[str]:
    words = ["squeue", "--noheader", "--array", "--format=%i", f"--user={getpass.getuser()}"]
    try:
        queue = subprocess.run(words, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return frozenset()
    return frozenset(queue.stdout.split())


def _parameters(words: Sequence[str]) -> dict[str, Any]:
    parameters = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not key or not equals:
            raise InputError(f"--slurm takes KEY=VALUE, and got {word!r}")
        try:
            parameters[key] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            parameters[key] = value
    return parameters
