"""Triton kernels, imported only where they run."""

import functools
import os

import torch
from torch import Tensor


def triton_obstacle(tensor: Tensor) -> str | None:
    """Why Triton's kernels cannot run on this tensor, or None if they can."""
    if tensor.dtype == torch.float64:
        return "Triton's kernels compute in float32, and the input is float64"
    if not _has_triton():
        return "the package triton is not installed"
    if tensor.device.type == "cuda" or os.environ.get("TRITON_INTERPRET") == "1":
        return None
    return f"the tensors are on {tensor.device}; Triton's kernels need CUDA"


@functools.cache
def _has_triton() -> bool:
    try:
        import triton  # noqa: F401
    except ImportError:
        return False
    return True
