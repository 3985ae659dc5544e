"""Compile the Triton kernels of trees and tree filters for GPUs, without a GPU.

    python tools/benchmarks/compile_trees.py

The exit status is 1 if a kernel spills registers, or if the kernel of the weights rounds otherwise
than a CPU does, with fused multiplications and additions.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Any
from unittest import mock

import torch

from mmlevelset.experiments.benchmarks import harness
from mmlevelset.experiments.benchmarks.compile_kernels import AbsentGPU, resources


def compile_all(capability: int) -> dict[str, Any]:
    """Return the compiled kernels of a tree, a filter and its gradients by name."""
    import triton
    from triton.runtime.jit import JITFunction

    from mmlevelset.ops.kernels import tree

    compiled: dict[str, Any] = {}
    launch = JITFunction.run

    def compile_only(function, *args, grid, warmup, **kwargs):
        name = function.__name__.strip("_")
        if name not in compiled:
            compiled[name] = launch(function, *args, grid=grid, warmup=True, **kwargs)
        return compiled[name]

    triton.runtime.driver.set_active(AbsentGPU(capability))
    guide, x, weight = torch.rand(1, 3, 24, 32), torch.rand(1, 2, 768), torch.rand(1, 768)
    with mock.patch.object(JITFunction, "run", compile_only):
        parent, order, height = (torch.zeros_like(part) for part in tree.spanning_tree(guide))
        result, norm = tree.forward(x, weight, parent, order, height)
        tree.backward(x, x, weight, parent, order, height, result, norm, True)
    return compiled


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--capability", type=int, nargs="+", default=[80, 90])
    options = parser.parse_args(words)
    os.environ.pop("TRITON_INTERPRET", None)  # the interpreter compiles nothing
    import triton

    print(f"triton {triton.__version__}, torch {torch.__version__}\n")
    rows, wrong = [], []
    for capability in options.capability:
        for name, kernel in compile_all(capability).items():
            used = resources(kernel)
            spills = used["STACK"] + used["LOCAL"]
            if spills:
                wrong.append(f"{name} spills.")
            if name == "start" and "fma" in kernel.asm["ptx"]:
                wrong.append(f"{name} fuses multiplications and additions.")
            numbers = [used["REG"], spills, used["SHARED"]]
            rows.append([name, f"sm_{capability}", *map(str, numbers)])
    print(harness.table(["kernel", "for", "registers", "spilled bytes", "shared bytes"], rows))
    if wrong:
        sys.exit("\n".join(wrong))
