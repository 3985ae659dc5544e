"""One run of a sweep: trains or evaluates in its folder, and leaves result.json or failed.json.

    python -m mmlevelset.experiments.sweep.run FOLDER

The sweep starts this module, here or in a SLURM job. The folder holds run.json, the task, and
config.py. A training that was interrupted goes on from its latest checkpoint.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import platform
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from types import FrameType

from mmlevelset.errors import InputError
from mmlevelset.experiments.machine import environment
from mmlevelset.experiments.runs import latest_checkpoint, read_result
from mmlevelset.experiments.work_dir import CHECKPOINT
from mmlevelset.files import read_json, shipped_folder, write_json
from mmlevelset.logs import evaluation_at, test_files

RUN = "mmlevelset.experiments.sweep.run"
TRAINING = "mmlevelset.experiments.training"
TESTING = "mmlevelset.experiments.testing"
BUSY = 75
"""The exit code if another process works at this run."""
NO_METRICS = {"data_time", "step"}
"""Numbers that mmengine logs beside metrics. ``time``, the seconds an image takes, is a metric."""


class Busy(Exception):
    """Another process holds the run's lock."""


class RunLock:
    """The right to work in a run's folder.

    The operating system releases the lock when the process and the training that it started have
    ended.
    """

    def __init__(self, folder: Path, patience: float = 2.0) -> None:
        self.file = open(folder / "lock", "a")
        end = time.monotonic() + patience  # `is_running` holds the lock for a moment, too
        while True:
            try:
                fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except OSError as error:
                if time.monotonic() > end:
                    self.file.close()
                    raise Busy(f"another process works at {folder}") from error
                time.sleep(0.1)

    def __enter__(self) -> RunLock:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()

    def sign(self) -> None:
        """Write the machine and the GPUs into the lock, for :func:`holder`."""
        self.file.truncate(0)
        devices = os.environ.get("CUDA_VISIBLE_DEVICES", "")
        json.dump(dict(host=platform.node(), devices=devices), self.file)
        self.file.flush()


def holder(folder: Path) -> dict[str, str] | None:
    """Return the machine and the GPUs of the process that works at a run; None without one."""
    if not is_running(folder):
        return None
    try:
        return json.loads((folder / "lock").read_text())
    except ValueError:  # the process is about to sign
        return dict(host=platform.node(), devices="")


def is_running(folder: Path) -> bool:
    """Return whether a process works at the run in this folder."""
    if not (folder / "lock").exists():
        return False
    try:
        with RunLock(folder, patience=0):
            return False
    except Busy:
        return True


def run_command(folder: Path) -> list[str]:
    """Return the command that does the run in a folder."""
    return [sys.executable, "-m", RUN, str(folder)]


def run(folder: Path) -> int:
    """Do the run; return its exit code. Its output goes to output.txt in the folder.

    Raises:
        Busy: another process works at the run.
    """
    task = read_json(folder / "run.json")
    finished = folder / "result.json"
    rank = int(os.environ.get("SLURM_PROCID", 0)) if task["launcher"] == "slurm" else 0
    if rank:
        if finished.exists():
            return 0
        return _call(_training(folder, task), folder / f"output_{rank}.txt")
    with RunLock(folder) as lock:
        lock.sign()
        if finished.exists():
            return 0
        (folder / "failed.json").unlink(missing_ok=True)
        started = time.monotonic()
        evaluated = None
        if task["source"] is not None:
            evaluated = read_result(_source(folder, task) / "result.json", True)["finished"]
        try:
            metrics = _metrics(folder, task, lock)
        except (Failure, InputError, OSError, ValueError) as error:
            code = error.code if isinstance(error, Failure) else 1
            write_json(folder / "failed.json", dict(code=code, message=str(error), at=_now()))
            return code
        write_json(
            finished,
            dict(
                variant=task["variant"],
                seed=task["seed"],
                fingerprint=task["fingerprint"],
                processes=task["processes"],
                evaluated=evaluated,  # the time at which the evaluated training was finished
                metrics=metrics,
                # For a resumed run, this is the time of the last part alone.
                seconds=round(time.monotonic() - started, 1),
                finished=_now(),
                environment=environment(),
            ),
        )
        return 0


class Failure(Exception):
    """A process of the run has failed; ``code`` is its exit code."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


def _metrics(folder: Path, task: dict, lock: RunLock) -> dict[str, float]:
    output = folder / "output.txt"
    metrics: dict[str, float] | None
    if task["command"] is not None:
        metrics = _of_command(folder, task, lock)
    elif task["trains"]:
        _must_succeed(_training(folder, task), output, lock)
        metrics = final_evaluation(folder)
        if metrics is None:  # the run was killed between its last checkpoint and the evaluation
            _must_succeed(_test(folder, folder), output, lock)
            metrics = _tested(folder)
    else:
        _must_succeed(_test(folder, _source(folder, task)), output, lock)
        metrics = _tested(folder)
    if not metrics:
        raise Failure(1, f"no evaluation was logged, see {output}")
    return metrics


def _source(folder: Path, task: dict) -> Path:
    """Return the folder of the evaluated run, also after the sweep was moved."""
    return folder.parent / task["source"]


def _training(folder: Path, task: dict) -> list[str]:
    train = ["-m", TRAINING, str(folder / "config.py"), "--work-dir", str(folder)]
    train += ["--launcher", task["launcher"]]
    if (folder / "last_checkpoint").exists() or any(map(CHECKPOINT.fullmatch, os.listdir(folder))):
        train.append("--resume")
    elif task["source"] is not None:
        checkpoint = latest_checkpoint(_source(folder, task))
        train += ["--partial-load", "--cfg-options", f"load_from={checkpoint}"]
    if task["launcher"] != "pytorch":
        return [sys.executable, *train]
    processes = ["--standalone", "--nproc-per-node", str(task["gpus"])]
    return [sys.executable, "-m", "torch.distributed.run", *processes, *train]


def _test(folder: Path, source: Path) -> list[str]:
    test = [str(folder / "config.py"), str(latest_checkpoint(source)), "--work-dir", str(folder)]
    return [sys.executable, "-m", TESTING, *test]


def _of_command(folder: Path, task: dict, lock: RunLock) -> dict[str, float]:
    result = folder / "metrics.json"
    result.unlink(missing_ok=True)
    fields = dict(config=folder / "config.py", folder=folder, result=result)
    if task["source"] is not None:
        source = _source(folder, task)
        fields |= dict(source_config=source / "config.py", checkpoint=latest_checkpoint(source))
    tool, *words = [word.format(**fields) for word in shlex.split(task["command"])]
    if tool.startswith("tools/"):
        tool = str(shipped_folder("tools") / tool.removeprefix("tools/"))
    _must_succeed([sys.executable, tool, *words], folder / "output.txt", lock)
    if not result.exists():
        raise Failure(1, f"{tool} wrote no {result}")
    metrics = read_json(result)
    for key, value in metrics.items():
        if not isinstance(value, int | float):
            raise InputError(f"{result}: {key} must be a number, and is {value!s:.40}")
    return metrics


def final_evaluation(folder: Path) -> dict[str, float] | None:
    """Return the metrics after the last step of training; None if this step was not evaluated."""
    record = evaluation_at(folder, last_step(folder)) or {}
    return {key: value for key, value in record.items() if key not in NO_METRICS} or None


def last_step(folder: Path) -> int:
    """Return the number of epochs or iterations of the run's config."""
    from mmengine.config import Config

    loop = Config.fromfile(folder / "config.py").train_cfg
    return loop.get("max_epochs") or loop.get("max_iters")


def _tested(folder: Path) -> dict[str, float]:
    """Return the metrics of the newest test."""
    files = test_files(folder)
    metrics = read_json(files[-1]) if files else {}
    return {key: value for key, value in metrics.items() if key not in NO_METRICS}


def _must_succeed(command: list[str], output: Path, lock: RunLock) -> None:
    start = output.stat().st_size if output.exists() else 0
    code = _call(command, output, (lock.file.fileno(),))
    if code:
        with open(output, errors="replace") as file:
            file.seek(start)
            lines = [line.strip() for line in file if line.strip()]
        errors = [line for line in lines if ": error: " in line]
        message = (errors or lines)[-1]
        raise Failure(code if code > 0 else 128 - code, f"{message} (see {output})")


def _call(command: list[str], output: Path, keep: tuple[int, ...] = ()) -> int:
    """Run a command, append its output to a file, return its exit code.

    A signal that stops this process stops the command.
    """
    with open(output, "a") as file:
        print(f"$ {shlex.join(command)}", file=file, flush=True)
        process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, pass_fds=keep)

        def stop(number: int, _: FrameType | None) -> None:
            sys.exit(128 + number)

        before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            return process.wait()
        except SystemExit:
            process.terminate()
            process.wait()
            raise
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _now() -> str:
    return datetime.now().astimezone().isoformat(timespec="seconds")


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog=f"python -m {RUN}",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", type=Path)
    try:
        sys.exit(run(parser.parse_args(words).folder))
    except Busy as busy:
        print(f"sweep: error: {busy}", file=sys.stderr)
        sys.exit(BUSY)


if __name__ == "__main__":
    main()
