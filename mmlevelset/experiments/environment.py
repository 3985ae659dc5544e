"""Versions and hardware, as results name them."""

import os
import platform
import shutil
from contextlib import suppress
from importlib import metadata

from mmlevelset import __version__


def environment() -> dict[str, str]:
    """Versions and hardware, as a result must name them."""
    versions = {"python": platform.python_version(), "mmlevelset": __version__}
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
