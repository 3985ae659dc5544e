"""The versions and the hardware of a run, as its result names them."""

import os
import platform
import shutil

from mmlevelset.experiments.machine import versions


def environment() -> dict[str, str]:
    """Return the versions of the packages, and the hardware."""
    packages = versions("mmlevelset", "torch", "mmengine", "mmcv", "mmdet")
    return {**packages, "hardware": _hardware()}


def _hardware() -> str:
    if shutil.which("nvidia-smi"):  # without a driver, do not import torch: it is slow
        import torch

        if torch.cuda.is_available():
            return f"{torch.cuda.device_count()} x {torch.cuda.get_device_name()}"
    cores = len(os.sched_getaffinity(0))
    threads = os.environ.get("OMP_NUM_THREADS", str(cores))
    plural = "" if threads == "1" else "s"
    return f"{platform.machine()} CPU, {cores} cores, {threads} thread{plural} a run"
