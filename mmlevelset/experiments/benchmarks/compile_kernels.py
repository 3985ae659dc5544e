"""Compile the Triton kernels for GPUs, without a GPU: registers, spills, memory, instructions.

    python tools/benchmarks/compile_kernels.py

The instructions of a pass are counted in its machine code, for a whole tile, and divided by the
tile's features. The exit status is 1 if a kernel of a supported size spills registers to memory, or
if a pass needs more instructions than its budget.
"""

from __future__ import annotations

import argparse
import itertools
import linecache
import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple
from unittest import mock

import torch

from mmlevelset.experiments.benchmarks import harness, sass

if TYPE_CHECKING:
    from triton.backends.compiler import GPUTarget


STEPS = 3

# Instructions an element of the features, by kernel, for sm_90, bfloat16, 64 channels, 112 x 112.
BUDGETED = (90, "bfloat16", 64, 112)
BUDGETS = {"forward_pass move sum": 9.0, "backward_pass move sum": 14.0}


class Compiled(NamedTuple):
    """A kernel, and the constants that it is compiled for."""

    kernel: Any
    constants: dict[str, Any]


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


@contextmanager
def compiling(capability: int) -> Iterator[dict[str, Compiled]]:
    """Compile the kernels that are launched in the context, and run none.

    Yields:
        The compiled kernels by name and variant, filled by the launches.
    """
    import triton
    from triton.runtime.jit import JITFunction

    compiled: dict[str, Compiled] = {}
    launch = JITFunction.run

    def compile_only(function, *args, grid, warmup, **kwargs):
        flags = [name.lower() for name in ("MOVE", "SUM") if kwargs.get(name)]
        name = " ".join([function.__name__.strip("_"), *flags])
        if name not in compiled:
            kernel = launch(function, *args, grid=grid, warmup=True, **kwargs)
            compiled[name] = Compiled(kernel, kwargs)
        return compiled[name].kernel

    triton.runtime.driver.set_active(AbsentGPU(capability))
    with mock.patch.object(JITFunction, "run", compile_only):
        yield compiled


def compile_all(
    capability: int, channels: int, dtype: torch.dtype, size: int = 112
) -> dict[str, Compiled]:
    """Compile the kernels of an evolution's forward and backward pass.

    Returns:
        The compiled kernels by name and variant.
    """
    from mmlevelset.ops.kernels import evolution

    regions = 2
    phi = torch.zeros(regions, size, size)
    features = torch.zeros(regions, channels, size, size, dtype=dtype)
    one, each = torch.ones(regions), torch.ones(regions, STEPS)
    with compiling(capability) as compiled:
        saved = evolution.forward(phi, features, one, one, one, each, each, 1e-4, True)
        trajectory, means, areas = saved
        grad = torch.ones_like(trajectory)
        evolution.backward(
            grad, trajectory, features, means, areas, one, one, one, each, each, 1e-4, True
        )
    return compiled


def resources(kernel: Any) -> dict[str, int]:
    """Return the registers of a thread, and the bytes of stack (spills) and shared memory."""
    report = sass.run_tool("cuobjdump", kernel.asm["cubin"], "--dump-resource-usage")
    found = {name: int(value) for name, value in re.findall(r"\b(REG|STACK|LOCAL):(\d+)", report)}
    return found | {"SHARED": kernel.metadata.shared}


def instructions(compiled: Compiled, channels: int) -> float | None:
    """Return the instructions of a pass for each element of a tile's features; None: no pass."""
    constants = compiled.constants
    if "PARTS" not in constants:
        return None
    groups = -(-channels // constants["ROWS"]) if constants["ROWS"] else 1
    # The loops of a pass, by their heads.
    runs = {
        "range(_parts(": constants["PARTS"],
        "range(steps)": STEPS,
        "range(ROWS, channels, ROWS)": groups - 1,
    }

    def trips(file: str, line: int) -> int:
        head = linecache.getline(file, line)
        for part, number in runs.items():
            if part in head:
                return number
        raise ValueError(
            f"the loop at {file}:{line} must be one of a pass, but is {head.strip()!r}"
        )

    issued = sass.count(sass.disassemble(compiled.kernel.asm["cubin"]), trips)
    threads = 32 * compiled.kernel.metadata.num_warps
    return issued * threads / (channels * constants["PIXELS"] * constants["PARTS"])


def excess(
    capability: int, dtype: str, channels: int, size: int, counts: dict[str, float | None]
) -> list[str]:
    """Return a line for each pass that exceeds its budget."""
    if (capability, dtype, channels, size) != BUDGETED:
        return []
    return [
        f"{name} takes {found:.1f} instructions an element, but its budget is {BUDGETS[name]:g}."
        for name, found in counts.items()
        if name in BUDGETS and found is not None and found > BUDGETS[name]
    ]


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
    rows, faults = [], []
    for capability, dtype, channels, size in itertools.product(
        options.capability, options.dtype, options.channels, options.size
    ):
        kernels = compile_all(capability, channels, getattr(torch, dtype), size)
        counts = {name: instructions(compiled, channels) for name, compiled in kernels.items()}
        for name, compiled in kernels.items():
            used = resources(compiled.kernel)
            spills = used["STACK"] + used["LOCAL"]
            if spills:
                faults.append(
                    f"{name} spills for sm_{capability}, {dtype}, C = {channels}, H = W = {size}."
                )
            each = counts[name]
            numbers = [channels, size, used["REG"], spills, used["SHARED"]]
            shown = "" if each is None else f"{each:.1f}"
            rows.append([name, f"sm_{capability}", dtype, *map(str, numbers), shown])
        faults += excess(capability, dtype, channels, size, counts)
    headings = [
        "kernel",
        "for",
        "features",
        "C",
        "H = W",
        "registers",
        "spilled bytes",
        "shared bytes",
        "instructions an element",
    ]
    print(harness.table(headings, rows))
    if faults:
        sys.exit("\n".join(faults))
