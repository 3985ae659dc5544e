"""Triton kernels, imported only where they run."""

import os
import re
from contextlib import AbstractContextManager, nullcontext
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

import torch
from torch import Tensor

HAS_TRITON = find_spec("triton") is not None
NEEDED = (3, 5)  # earlier versions do not compile the kernels' tuples of tiles


def _triton_version() -> str:
    """Version of the installed package, by whichever of its names; empty if there is none."""
    for name in ("triton", "pytorch-triton", "triton-windows"):
        try:
            return version(name)
        except PackageNotFoundError:
            pass
    return ""


def is_outdated(found: str) -> bool:
    """Return whether a version of triton is known and too old for the kernels."""
    return found != "" and tuple(map(int, re.findall(r"\d+", found)[:2])) < NEEDED


VERSION = _triton_version()
OUTDATED = is_outdated(VERSION)


def triton_obstacle(tensor: Tensor) -> str | None:
    """Return why Triton's kernels cannot run on this tensor, or None if they can."""
    if tensor.dtype == torch.float64:
        return "Triton's kernels compute in float32, and the input is float64"
    if not HAS_TRITON:
        return "the package triton is not installed"  # it comes with torch's CUDA builds on Linux
    if OUTDATED:
        return f"the kernels need triton {NEEDED[0]}.{NEEDED[1]}, and triton {VERSION} is installed"
    if os.environ.get("TRITON_INTERPRET") == "1":
        return None
    if tensor.device.type == "cuda":
        if torch.cuda.get_device_capability(tensor.device) >= (8, 0):
            return None
        return f"Triton needs a GPU of compute capability 8.0, unlike {tensor.device}"
    return f"the tensors are on {tensor.device}; Triton's kernels need CUDA"


def on_device(tensor: Tensor) -> AbstractContextManager:
    """Make the tensor's device current, since Triton launches on the current device."""
    return torch.cuda.device(tensor.device) if tensor.is_cuda else nullcontext()
