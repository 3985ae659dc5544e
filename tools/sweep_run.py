"""One run of a sweep: trains or evaluates in its folder, and leaves result.json or failed.json.

    python tools/sweep_run.py FOLDER

sweep.py starts it, here or in a SLURM job. The folder holds run.json, what to do, and config.py.
Training that was interrupted goes on from its latest checkpoint.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import platform
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from datetime import datetime
from importlib import metadata
from pathlib import Path
from types import FrameType

from mmlevelset.files import write_json

TOOLS = Path(__file__).resolve().parent
BUSY = 75  # exit code: another process is at this run

NO_METRICS = {"data_time", "step"}
"""What mmengine logs beside an evaluation's metrics; its seconds an image, `time`, stay."""


class Busy(Exception):
    """Another process holds the run's lock."""


class RunLock:
    """The right to work in a run's folder.

    The system takes it back when the process is dead, and with it the training that it started.
    """

    def __init__(self, folder: Path, patience: float = 2.0) -> None:
        self.file = open(folder / "lock", "a")
        until = time.monotonic() + patience  # `is_running` holds it for a moment, too
        while True:
            try:
                fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except OSError as error:
                if time.monotonic() > until:
                    self.file.close()
                    raise Busy(f"another process is at {folder}") from error
                time.sleep(0.1)

    def __enter__(self) -> RunLock:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()

    def sign(self) -> None:
        """Say where the work is done, for :func:`holder`."""
        self.file.truncate(0)
        devices = os.environ.get("CUDA_VISIBLE_DEVICES", "")
        json.dump(dict(host=platform.node(), devices=devices), self.file)
        self.file.flush()


def holder(folder: Path) -> dict[str, str] | None:
    """The machine and the GPUs of the process that is at a run; None: nobody is."""
    if not is_running(folder):
        return None
    try:
        return json.loads((folder / "lock").read_text())
    except ValueError:  # it is about to sign
        return dict(host=platform.node(), devices="")


def is_running(folder: Path) -> bool:
    """Whether a process is at the run in this folder."""
    if not (folder / "lock").exists():
        return False
    try:
        with RunLock(folder, patience=0):
            return False
    except Busy:
        return True


def run(folder: Path) -> int:
    """Do the run; its exit code. Everything printed goes to output.txt in the folder.

    Raises:
        Busy: another process is at it.
    """
    what = json.loads((folder / "run.json").read_text())
    finished = folder / "result.json"
    rank = int(os.environ.get("SLURM_PROCID", 0)) if what["launcher"] == "slurm" else 0
    if rank:
        if finished.exists():
            return 0
        return _call(_training(folder, what), folder / f"output_{rank}.txt")
    with RunLock(folder) as lock:
        lock.sign()
        if finished.exists():
            return 0
        (folder / "failed.json").unlink(missing_ok=True)
        started = time.monotonic()
        evaluated = None
        if what["source"] is not None:
            source = json.loads((_source(folder, what) / "result.json").read_text())
            evaluated = source["finished"]
        try:
            metrics = _metrics(folder, what, lock)
        except Failure as failure:
            write_json(
                folder / "failed.json",
                dict(code=failure.code, message=failure.message, at=_now()),
            )
            return failure.code
        write_json(
            finished,
            dict(
                variant=what["variant"],
                seed=what["seed"],
                fingerprint=what["fingerprint"],
                processes=what["processes"],
                evaluated=evaluated,  # when that training was finished
                metrics=metrics,
                # Of a run that was resumed, the last part alone.
                seconds=round(time.monotonic() - started, 1),
                finished=_now(),
                environment=environment(),
            ),
        )
        return 0


class Failure(Exception):
    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def _metrics(folder: Path, what: dict, lock: RunLock) -> dict[str, float]:
    output = folder / "output.txt"
    metrics: dict[str, float] | None
    if what["command"] is not None:
        metrics = _of_command(folder, what, lock)
    elif what["source"] is None:
        _must_succeed(_training(folder, what), output, lock)
        metrics = final_evaluation(folder)
        if metrics is None:  # it was killed between its last checkpoint and the evaluation
            _must_succeed(_test(folder, folder, []), output, lock)
            metrics = _tested(folder)
    else:
        _must_succeed(_test(folder, _source(folder, what), what["arguments"]), output, lock)
        metrics = _tested(folder)
    if not metrics:
        raise Failure(1, f"no evaluation was logged, see {output}")
    return metrics


def _source(folder: Path, what: dict) -> Path:
    """The folder of the run that is evaluated, wherever the sweep has been moved."""
    return folder.parent / what["source"]


def _training(folder: Path, what: dict) -> list[str]:
    train = [str(TOOLS / "train.py"), str(folder / "config.py"), "--work-dir", str(folder)]
    train += ["--launcher", what["launcher"], *what["arguments"]]
    if (folder / "last_checkpoint").exists():
        train.append("--resume")
    if what["launcher"] != "pytorch":
        return [sys.executable, *train]
    processes = ["--standalone", "--nproc-per-node", str(what["gpus"])]
    return [sys.executable, "-m", "torch.distributed.run", *processes, *train]


def _test(folder: Path, source: Path, arguments: list[str]) -> list[str]:
    config = str(folder / "config.py")
    test = [str(TOOLS / "test.py"), config, str(latest_checkpoint(source))]
    return [sys.executable, *test, "--work-dir", str(folder), *arguments]


def _of_command(folder: Path, what: dict, lock: RunLock) -> dict[str, float]:
    result = folder / "metrics.json"
    result.unlink(missing_ok=True)
    fields = dict(config=folder / "config.py", folder=folder, result=result)
    if what["source"] is not None:
        source = _source(folder, what)
        fields |= dict(source_config=source / "config.py", checkpoint=latest_checkpoint(source))
    tool, *words = [word.format(**fields) for word in shlex.split(what["command"])]
    if tool.startswith("tools/"):
        tool = str(TOOLS / tool.removeprefix("tools/"))
    _must_succeed([sys.executable, tool, *words], folder / "output.txt", lock)
    if not result.exists():
        raise Failure(1, f"{tool} wrote no {result}")
    return json.loads(result.read_text())


def latest_checkpoint(folder: Path) -> Path:
    """The newest checkpoint of a work dir, wherever that has been moved."""
    named = folder / "last_checkpoint"
    if not named.exists():
        raise Failure(1, f"{folder} has no checkpoint")
    return folder / Path(named.read_text().strip()).name


def final_evaluation(folder: Path) -> dict[str, float] | None:
    """The metrics evaluated after the last step of training; None if that was not reached."""
    from mmlevelset.logs import log_files, read_records

    last = last_step(folder)
    for log in reversed(log_files(folder)):
        for record in reversed(read_records(log)):
            if "loss" not in record and record.get("step") == last:
                return {key: value for key, value in record.items() if key not in NO_METRICS}
    return None


def last_step(folder: Path) -> int:
    """The number of epochs or iterations that the run's config asks for."""
    from mmengine.config import Config

    loop = Config.fromfile(folder / "config.py").train_cfg
    return loop.get("max_epochs") or loop.get("max_iters")


def _tested(folder: Path) -> dict[str, float]:
    """What the newest test run wrote."""
    for file in sorted(folder.glob("*/*.json"), reverse=True):
        if re.fullmatch(r"\d{8}_\d{6}", file.stem):
            metrics = json.loads(file.read_text())
            return {key: value for key, value in metrics.items() if key not in NO_METRICS}
    return {}


def _must_succeed(command: list[str], output: Path, lock: RunLock) -> None:
    start = output.stat().st_size if output.exists() else 0
    code = _call(command, output, (lock.file.fileno(),))
    if code:
        with open(output, errors="replace") as file:
            file.seek(start)
            lines = [line.strip() for line in file if line.strip()]
        told = [line for line in lines if ": error: " in line]
        message = (told or lines or [f"{command[1]} printed nothing"])[-1]
        raise Failure(code if code > 0 else 128 - code, f"{message} (see {output})")


def _call(command: list[str], output: Path, keep: tuple[int, ...] = ()) -> int:
    """Run a command with its output at the end of a file; it is stopped when we are."""
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


def environment() -> dict[str, str]:
    """Versions and hardware, as a result must name them."""
    versions = {"python": platform.python_version()}
    with suppress(ImportError):
        from mmlevelset import __version__

        versions["mmlevelset"] = __version__
    for name, other in (
        ("torch", "torch"),
        ("onedl-mmengine", "mmengine"),
        ("onedl-mmcv", "mmcv"),
        ("onedl-mmdetection", "mmdet"),
    ):
        for distribution in (name, other):
            with suppress(metadata.PackageNotFoundError):
                versions.setdefault(other, f"{metadata.version(distribution)}")
    versions["hardware"] = _hardware()
    return versions


def _hardware() -> str:
    if shutil.which("nvidia-smi"):  # without a driver torch, slow to import, has nothing to tell
        import torch

        if torch.cuda.is_available():
            return f"{torch.cuda.device_count()} x {torch.cuda.get_device_name()}"
    cores = len(os.sched_getaffinity(0))
    threads = os.environ.get("OMP_NUM_THREADS", str(cores))
    plural = "" if threads == "1" else "s"
    return f"{platform.machine()} CPU, {cores} cores, {threads} thread{plural} a run"


def _now() -> str:
    return datetime.now().astimezone().isoformat(timespec="seconds")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    try:
        sys.exit(run(parser.parse_args().folder))
    except Busy as busy:
        print(f"sweep_run.py: error: {busy}", file=sys.stderr)
        sys.exit(BUSY)


if __name__ == "__main__":
    main()
