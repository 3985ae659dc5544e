"""Set up .venv: torch, mmcv with its compiled ops, everything else, and this package, editable.

The script needs only the standard library. Each stage leaves a stamp when it is complete, and is
skipped if its stamp matches its dependencies. So a second run takes a moment, and a run that was
interrupted goes on where it stopped.

Environment: PYTHON (the interpreter), MMCV_WHEEL (a wheel of mmcv built earlier, instead of
compiling it), MMLEVELSET_CPU=1 (mmcv without CUDA ops on a CUDA machine), MAX_JOBS (compilers at
once), and pip's own variables.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parents[2]
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
STAMPS = VENV / "setup"
LOG = STAMPS / "log.txt"
INSTALLING = STAMPS / "installing"
BUILD = VENV / "mmcv-build"
WHEELS = VENV / "mmcv-wheel"
CONSTRAINTS = ROOT / "constraints.txt"
BUILD_TOOLS = ["pip", "setuptools", "wheel", "ninja", "hatchling"]
DESCRIPTION = ["constraints.txt", "pyproject.toml", "mmlevelset/__init__.py"]
GIGABYTES_PER_COMPILER = 2.5

# Instead of Python's own flags, which add debugging symbols and warnings.
COMPILER_FLAGS = "-g0 -O2 -w"
# Files of mmcv that define the same names, so each goes into another merged file.
APART = ["bezier_align", "roi_align", "roi_align_rotated", "rotated_feature_align"]
# A file of mmcv that defines macros min and max, so no file may follow it.
LAST = "psamask"
ARE_ALL_WHOLE = """
import importlib.metadata, pip, sys, sysconfig
for found in importlib.metadata.distributions(path=[sysconfig.get_path("purelib")]):
    if found.files is None or not all(file.locate().exists() for file in found.files):
        sys.exit(1)
"""
TRY_MMCV = """
import torch
from mmcv.ops import nms, roi_align
boxes = torch.tensor([[0.0, 0.0, 4.0, 4.0]])
nms(boxes, torch.tensor([0.5]), 0.5)
roi_align(torch.ones(1, 1, 4, 4), torch.nn.functional.pad(boxes, (1, 0)), (2, 2))
"""


def fail(message: str) -> NoReturn:
    sys.exit(f"setup: {message}")


def say(message: str) -> None:
    print(f"setup: {message}", flush=True)


def seconds(since: float) -> str:
    return f"{time.monotonic() - since:.0f} s"


def run(
    command: list[str],
    env: dict[str, str] | None = None,
    on_line: Callable[[str], None] | None = None,
) -> None:
    """Run a command and log its output; CalledProcessError holds the end of the output."""
    tail: list[str] = []
    with open(LOG, "a") as log:
        log.write(f"\n$ {shlex.join(command)}\n")
        with subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        ) as process:
            assert process.stdout is not None
            for line in process.stdout:
                log.write(line)
                log.flush()
                tail = [*tail[-29:], line]
                if on_line:
                    on_line(line)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command, "".join(tail))


def do(command: list[str]) -> None:
    """Run a command; if it fails, show the end of its output and stop."""
    try:
        run(command)
    except subprocess.CalledProcessError as error:
        stop_on(error)


def stop_on(error: subprocess.CalledProcessError) -> NoReturn:
    sys.stderr.write(error.output)
    fail(f"`{shlex.join(error.cmd)[:100]}` failed; all its output is in {LOG}.")


def ask(code: str) -> str:
    """Output of Python code that is run in .venv."""
    done = subprocess.run(python(code), capture_output=True, text=True, cwd=ROOT)
    if done.returncode:
        fail(f".venv's Python failed:\n{done.stderr.strip()[-2000:]}")
    return done.stdout.strip()


def pip(subcommand: str, *arguments: str | Path) -> list[str]:
    """The command line of .venv's pip, under the constraints."""
    command = [PYTHON, "-m", "pip", subcommand, "--disable-pip-version-check", "-c", CONSTRAINTS]
    return [str(word) for word in (*command, *arguments)]


def python(code: str) -> list[str]:
    return [str(PYTHON), "-c", code]


def install(*arguments: str | Path) -> None:
    """Run pip install; if it is killed, it leaves a mark for `start_afresh_if_broken`."""
    INSTALLING.touch()
    do(pip("install", *arguments))
    INSTALLING.unlink()


def start_afresh_if_broken() -> None:
    """Let .venv be made again if a distribution is half installed, which pip does not notice."""
    whole = PYTHON.exists()
    if whole and INSTALLING.exists():
        whole = subprocess.run(python(ARE_ALL_WHOLE), capture_output=True).returncode == 0
        INSTALLING.unlink()
    if not whole:
        (STAMPS / "venv").unlink(missing_ok=True)


def pins(*names: str) -> str:
    """The constraint lines of these distributions."""
    lines = CONSTRAINTS.read_text().splitlines()
    return "\n".join(line for line in lines if re.split(r"[=<>;! ]", line)[0] in names)


def stage(name: str, saying: str, work: Callable[[], None], *depends_on: object) -> str:
    """Do a stage unless its stamp says that it is done for these dependencies; return its key."""
    key = hashlib.sha256(json.dumps([str(part) for part in depends_on]).encode()).hexdigest()
    stamp = STAMPS / name
    if stamp.exists() and stamp.read_text() == key:
        return key
    stamp.unlink(missing_ok=True)
    start = time.monotonic()
    say(f"{saying} ...")
    work()
    unfinished = stamp.with_suffix(".new")
    unfinished.write_text(key)
    unfinished.replace(stamp)
    say(f"{name}: done in {seconds(start)}")
    return key


def cxx_compiler() -> str:
    names = [os.environ["CXX"]] if os.environ.get("CXX") else ["c++", "g++"]
    found = [name for name in names if shutil.which(name.split()[0])]
    if not found:
        fail("no C++ compiler was found; install g++ (Debian, Ubuntu: apt install g++).")
    return found[0]


def require_compiler() -> None:
    """Stop early, with advice, if mmcv could not be compiled."""
    cxx_compiler()
    include = Path(sysconfig.get_paths()["include"])
    if not (include / "Python.h").is_file():
        fail(
            f"Python.h is missing from {include}; install Python's headers (Debian, Ubuntu:"
            f" apt install python{sys.version_info[0]}.{sys.version_info[1]}-dev)."
        )


def make_venv() -> None:
    if not os.environ.get("MMCV_WHEEL"):
        require_compiler()
    try:
        import ensurepip  # noqa: F401
        import venv
    except ImportError:
        fail(
            f"{sys.executable} cannot make virtual environments; install its venv module (Debian,"
            f" Ubuntu: apt install python{sys.version_info[0]}.{sys.version_info[1]}-venv)."
        )
    if VENV.exists() and not (VENV / "pyvenv.cfg").exists() and any(VENV.iterdir()):
        fail(f"{VENV} exists and is not a virtual environment; move it away.")
    venv.EnvBuilder(clear=True, symlinks=True, with_pip=True).create(VENV)
    STAMPS.mkdir()
    (STAMPS / "python").write_text(getattr(sys, "_base_executable", sys.executable))


def has_cuda() -> bool:
    if os.environ.get("MMLEVELSET_CPU") == "1":
        return False
    return ask("import torch; print(torch.cuda.is_available())") == "True"


def require_nvcc() -> None:
    found = ask(
        "import torch; from torch.utils.cpp_extension import CUDA_HOME;"
        "print(torch.version.cuda, CUDA_HOME or '')"
    ).split()
    needed, home = found[0], "".join(found[1:])
    advice = (
        f"install the CUDA toolkit {needed} (or set CUDA_HOME to it),"
        " or compile mmcv for the CPU only: MMLEVELSET_CPU=1 make setup."
    )
    nvcc = Path(home, "bin", "nvcc")
    if not home or not nvcc.exists():
        fail(f"this machine has a CUDA GPU but no nvcc to compile mmcv's CUDA ops with; {advice}")
    output = subprocess.run([nvcc, "--version"], capture_output=True, text=True).stdout
    version = re.search(r"release (\d+)\.", output)
    if not version or version[1] != needed.split(".")[0]:
        has = version[1] if version else "of an unknown version"
        fail(f"torch was built for CUDA {needed} but {nvcc} is CUDA {has}; {advice}")


def compilers_at_once() -> int:
    """Number of compilers that cores and memory allow; a container's limits count."""
    cores: float = len(os.sched_getaffinity(0))
    quota = read("/sys/fs/cgroup/cpu.max").split()
    if len(quota) == 2 and quota[0].isdigit():
        cores = min(cores, int(quota[0]) / int(quota[1]))
    found = re.search(r"MemAvailable:\s+(\d+) kB", read("/proc/meminfo"))
    memory = int(found[1]) / 1e6 if found else GIGABYTES_PER_COMPILER
    limit, used = (read(f"/sys/fs/cgroup/memory.{name}").strip() for name in ("max", "current"))
    if limit.isdigit() and used.isdigit():
        memory = min(memory, (int(limit) - int(used)) / 1e9)
    return max(1, int(min(cores, memory / GIGABYTES_PER_COMPILER)))


def read(path: str | Path) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""


def merge_sources(source: Path) -> None:
    """Gather mmcv's 78 C++ files in four.

    Nearly all of a file's compile time goes into torch's header and the templates that it
    instantiates. So the ops compile ten times faster in four files.
    """
    folder = source / "mmcv" / "ops" / "csrc" / "pytorch"
    files = sorted([*folder.glob("*.cpp"), *folder.glob("cpu/*.cpp")])
    apart = [file for file in files if file.stem in APART and file.parent.name == "cpu"]
    last = [file for file in files if file.stem == LAST and file.parent.name == "cpu"]
    merged: list[list[Path]] = [[] for _ in APART]
    for number, file in enumerate(apart):
        merged[number].append(file)
    for number, file in enumerate(sorted(set(files) - {*apart, *last})):
        merged[number % len(merged)].append(file)
    merged[0] += last
    for number, group in enumerate(merged):
        lines = []
        for file in group:
            # mmcv's setup.py compiles every *.cpp.
            included = file.rename(file.with_suffix(".inc"))
            lines.append(f'#include "{included.relative_to(folder)}"\n')
        Path(folder, f"merged_{number}.cpp").write_text("".join(lines))


def build_mmcv(cuda: bool, torch_version: str) -> None:
    """Leave mmcv's wheel, compiled against .venv's torch, in WHEELS."""
    require_compiler()
    # The files of an interrupted build are of use for the same build only.
    build = f"{pins('onedl-mmcv')} torch {torch_version} cuda {cuda}"
    if read(BUILD / "build") != build:
        shutil.rmtree(BUILD, ignore_errors=True)
        BUILD.mkdir()
        (BUILD / "build").write_text(build)
    if cuda:
        require_nvcc()
    jobs = os.environ.get("MAX_JOBS") or str(compilers_at_once())
    ops = "CUDA and CPU ops" if cuda else "CPU ops"
    say(f"compiling mmcv's {ops}, {jobs} files at a time")
    try:
        compile_mmcv(unpack_mmcv("merged", merge_sources), cuda, jobs)
    except subprocess.CalledProcessError:
        say("that failed; compiling each file by itself, which takes about ten times as long")
        try:
            compile_mmcv(unpack_mmcv("plain"), cuda, jobs)
        except subprocess.CalledProcessError as error:
            stop_on(error)


def compile_mmcv(source: Path, cuda: bool, jobs: str) -> None:
    shown = 0

    def progress(line: str) -> None:
        nonlocal shown
        found = re.match(r"\s*\[(\d+)/(\d+)\] ", line)
        if found and int(found[1]) * 10 // int(found[2]) > shown:
            shown = int(found[1]) * 10 // int(found[2])
            say(f"  {found[1]} of {found[2]} files")

    env = {
        "MMCV_WITH_OPS": "1",
        "MAX_JOBS": jobs,
        "CXX": cxx_compiler(),
        "CFLAGS": COMPILER_FLAGS,
    }
    if not cuda:
        env |= {"FORCE_CUDA": "0", "CUDA_VISIBLE_DEVICES": ""}
    shutil.rmtree(WHEELS, ignore_errors=True)
    # In an unpacked tree, ninja keeps the files that were compiled before an interruption.
    run(
        pip("wheel", "-v", "--no-deps", "--no-build-isolation", "-w", WHEELS, source),
        env=env,
        on_line=progress,
    )


def unpack_mmcv(name: str, change: Callable[[Path], None] | None = None) -> Path:
    """mmcv's source tree of this name; if missing, it is downloaded, unpacked and changed."""
    wanted = BUILD / name
    if wanted.exists():
        return wanted
    if not list(BUILD.glob("onedl_mmcv-*.tar.gz")):
        options = ["-q", "--no-deps", "--no-build-isolation", "--no-binary", "onedl-mmcv"]
        do(pip("download", *options, "-d", BUILD, "onedl-mmcv"))
    unfinished = BUILD / "unfinished"
    shutil.rmtree(unfinished, ignore_errors=True)
    shutil.unpack_archive(next(BUILD.glob("onedl_mmcv-*.tar.gz")), unfinished)
    tree = next(unfinished.iterdir())
    if change:
        change(tree)
    return tree.rename(wanted)


def mmcv_wheel() -> Path:
    given = os.environ.get("MMCV_WHEEL")
    if not given:
        return next(WHEELS.glob("onedl_mmcv-*.whl"))
    if not Path(given).is_file():
        fail(f"MMCV_WHEEL must be a wheel of onedl-mmcv, but {given} is no file.")
    return Path(given).resolve()


def install_mmcv() -> None:
    """Install mmcv from MMCV_WHEEL, or compile it; check that its ops run."""
    if not os.environ.get("MMCV_WHEEL"):
        cuda = has_cuda()
        torch_version = ask("import torch; print(torch.__version__)")
        stage(
            "mmcv-wheel",
            "compiling mmcv (a minute or two on two cores)",
            lambda: build_mmcv(cuda, torch_version),
            pins("onedl-mmcv"),
            torch_version,
            cuda,
        )
    install("--force-reinstall", "--no-deps", mmcv_wheel())
    install("onedl-mmcv")
    make_opencv_work()
    do(python(TRY_MMCV))


def make_opencv_work() -> None:
    """Install opencv-python-headless over opencv-python, which needs libGL, if libGL is missing."""
    if subprocess.run(python("import cv2"), capture_output=True).returncode:
        say("OpenCV's windows need missing system libraries; installing opencv-python-headless")
        install("--force-reinstall", "--no-deps", "opencv-python-headless")
        do(python("import cv2"))


def install_packages() -> None:
    install("onedl-mmengine", "onedl-mmdetection", "onedl-mim")
    install("--no-build-isolation", "-e", ".[openmmlab,dev]")
    make_opencv_work()
    do(python("import mmdet, mmlevelset"))


def set_up() -> None:
    start = time.monotonic()
    version = "{}.{}.{}".format(*sys.version_info)
    start_afresh_if_broken()
    key = stage("venv", f"making .venv with Python {version}", make_venv, ROOT, version)
    key = stage(
        "build-tools",
        "installing what builds packages",
        lambda: install("--upgrade", *BUILD_TOOLS),
        key,
        pins(*BUILD_TOOLS),
    )
    key = stage(
        "torch",
        "installing torch (a large download)",
        lambda: install("torch", "numpy"),
        key,
        pins("torch", "numpy"),
    )
    key = stage(
        "mmcv",
        "installing mmcv with its compiled ops",
        install_mmcv,
        key,
        pins("onedl-mmcv"),
    )
    stage(
        "packages",
        "installing everything else, and mmlevelset itself, editable",
        install_packages,
        key,
        *(read(ROOT / name) for name in DESCRIPTION),
    )
    if time.monotonic() - start > 1:
        say(f".venv is ready, after {seconds(start)}")


if __name__ == "__main__":
    with open(CONSTRAINTS) as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waiting for another set-up of this checkout")
            fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            set_up()
        except KeyboardInterrupt:
            fail("interrupted; run it again to go on from here.")
