"""Compile the Triton kernels for GPUs, without a GPU: registers, spills, shared memory.

    python tools/benchmarks/compile_kernels.py

The exit status is 1 if a kernel of a supported size spills registers to memory.
"""

from __future__ import annotations

import argparse
import itertools
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

import torch

from mmlevelset.experiments.benchmarks import harness

if TYPE_CHECKING:
    from triton.backends.compiler import GPUTarget


class AbsentGPU:
    """A driver that gives Triton the GPU to compile for, but has no device."""

    def __init__(self, capability: int) -> None:
        from triton.backends.compiler import GPUTarget

        self.target = GPUTarget("cuda", capability, 32)

    def get_current_target(self) -> GPUTarget:
        return self.target

    def get_current_device(self) -> int:
        return self.target.arch

    def get_current_stream(self, device: int) -> int:
        return 0

    def get_active_torch_device(self) -> torch.device:
        return torch.device("cpu")


def compile_all(
    capability: int, channels: int, dtype: torch.dtype, size: int = 112
) -> dict[str, Any]:
    """Compile the kernels of an evolution's forward and backward pass.

    Returns:
        The compiled kernels by name and variant.
    """
    import triton
    from triton.runtime.jit import JITFunction

    from mmlevelset.ops.kernels import evolution

    compiled: dict[str, Any] = {}
    launch = JITFunction.run

    def compile_only(function, *args, grid, warmup, **kwargs):
        kernel = launch(function, *args, grid=grid, warmup=True, **kwargs)
        flags = [name.lower() for name in ("MOVE", "SUM") if kwargs.get(name)]
        compiled[" ".join([function.__name__.strip("_"), *flags])] = kernel
        return kernel

    regions, steps = 2, 3
    phi = torch.zeros(regions, size, size)
    features = torch.zeros(regions, channels, size, size, dtype=dtype)
    one, each = torch.ones(regions), torch.ones(regions, steps)
    triton.runtime.driver.set_active(AbsentGPU(capability))
    with mock.patch.object(JITFunction, "run", compile_only):
        saved = evolution.forward(phi, features, one, one, one, each, each, 1e-4, True)
        trajectory, means, areas = saved
        grad = torch.ones_like(trajectory)
        evolution.backward(
            grad, trajectory, features, means, areas, one, one, one, each, each, 1e-4, True
        )
    return compiled


def resources(kernel: Any) -> dict[str, int]:
    """Return the registers of a thread, and the bytes of stack (spills) and shared memory."""
    import triton

    cuobjdump = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(kernel.asm["cubin"])
        file.flush()
        report = subprocess.run(
            [cuobjdump, "--dump-resource-usage", file.name],
            check=True,
            capture_output=True,
            text=True,
        ).stdout
    found = {name: int(value) for name, value in re.findall(r"\b(REG|STACK|LOCAL):(\d+)", report)}
    return found | {"SHARED": kernel.metadata.shared}


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--capability", type=int, nargs="+", default=[80, 90])
    parser.add_argument("--channels", type=int, nargs="+", default=[3, 16, 19, 64, 67])
    parser.add_argument("--size", type=int, nargs="+", default=[112, 56], help="side of the maps")
    parser.add_argument("--dtype", nargs="+", default=["bfloat16", "float16", "float32"])
    options = parser.parse_args(words)
    os.environ.pop("TRITON_INTERPRET", None)  # the interpreter compiles nothing
    import triton

    print(f"triton {triton.__version__}, torch {torch.__version__}\n")
    rows, spilled = [], False
    for capability, dtype, channels, size in itertools.product(
        options.capability, options.dtype, options.channels, options.size
    ):
        kernels = compile_all(capability, channels, getattr(torch, dtype), size)
        for name, kernel in kernels.items():
            used = resources(kernel)
            spills = used["STACK"] + used["LOCAL"]
            spilled |= spills > 0
            numbers = [channels, size, used["REG"], spills, used["SHARED"]]
            rows.append([name, f"sm_{capability}", dtype, *map(str, numbers)])
    headings = [
        "kernel",
        "for",
        "features",
        "C",
        "H = W",
        "registers",
        "spilled bytes",
        "shared bytes",
    ]
    print(harness.table(headings, rows))
    if spilled:
        sys.exit("Some kernels spill.")
