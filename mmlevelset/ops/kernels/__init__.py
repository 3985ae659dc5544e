"""Triton kernels, imported only where they run."""

import os
from contextlib import AbstractContextManager, nullcontext
from importlib.util import find_spec

import torch
from torch import Tensor

HAS_TRITON = find_spec("triton") is not None


def triton_obstacle(tensor: Tensor) -> str | None:
    """Return why Triton's kernels cannot run on this tensor, or None if they can."""
    if tensor.dtype == torch.float64:
        return "Triton's kernels compute in float32, and the input is float64"
    if not HAS_TRITON:
        return "the package triton is not installed"  # it comes with torch's CUDA builds on Linux
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
