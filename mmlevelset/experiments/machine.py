"""The machine that a measurement ran on: the processor and the versions of the packages."""

import os
import platform
import shutil
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

DISTRIBUTIONS = {
    "mmengine": ("onedl-mmengine", "mmengine"),
    "mmcv": ("onedl-mmcv", "mmcv"),
    "mmdet": ("onedl-mmdetection", "mmdet"),
    "opencv": ("opencv-python", "opencv-python-headless"),
}
"""The distributions that hold a package, where their names are not the package's."""


def processor() -> str:
    """Return the processor's model, or its architecture where Linux does not name the model."""
    info = Path("/proc/cpuinfo")
    for line in info.read_text().splitlines() if info.is_file() else ():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def processor_and_threads() -> str:
    """Return the processor's model and the number of threads that torch uses."""
    import torch

    threads = torch.get_num_threads()
    return f"{processor()}, {threads} thread{'s' * (threads > 1)}"


def versions(*packages: str) -> dict[str, str]:
    """Return the versions of Python and of the packages; packages that are missing are left out."""
    import mmlevelset

    found = {"python": platform.python_version()}
    for package in packages:
        if package == "mmlevelset":  # a checkout may not be installed
            found[package] = mmlevelset.__version__
            continue
        for distribution in DISTRIBUTIONS.get(package, (package,)):
            try:
                found.setdefault(package, metadata.version(distribution))
            except metadata.PackageNotFoundError:
                continue
    return found


def in_words(versions: Mapping[str, str]) -> str:
    """Return the versions as a list in one line."""
    return ", ".join(
        f"{'Python' if package == 'python' else package} {version}"
        for package, version in versions.items()
    )


def environment() -> dict[str, str]:
    """Return the versions of the packages, and the hardware, as a run's result names them."""
    packages = versions("mmlevelset", "torch", "mmengine", "mmcv", "mmdet")
    return {**packages, "hardware": _hardware()}


def _hardware() -> str:
    if shutil.which("nvidia-smi"):  # torch is slow to import: only where there is a driver
        import torch

        if torch.cuda.is_available():
            return f"{torch.cuda.device_count()} x {torch.cuda.get_device_name()}"
    cores = len(os.sched_getaffinity(0))
    threads = os.environ.get("OMP_NUM_THREADS", str(cores))
    plural = "" if threads == "1" else "s"
    return f"{platform.machine()} CPU, {cores} cores, {threads} thread{plural} a run"
