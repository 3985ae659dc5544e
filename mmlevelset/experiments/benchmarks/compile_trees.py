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

import torch

from mmlevelset.experiments.benchmarks import harness
from mmlevelset.experiments.benchmarks.compile_kernels import Compiled, compiling, resources


def compile_all(capability: int) -> dict[str, Compiled]:
    """Return the compiled kernels of a tree, a filter and its gradients by name."""
    from mmlevelset.ops.kernels import tree

    guide, x, weight = torch.rand(1, 3, 24, 32), torch.rand(1, 2, 768), torch.rand(1, 768)
    with compiling(capability) as compiled:
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
        for name, (kernel, _) in compile_all(capability).items():
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
