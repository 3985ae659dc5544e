"""Kernels that the trees and the solver of Chan and Vese start on CUDA, counted without a GPU.

    python tools/benchmarks/launches.py

The operations run on the CPU as a CUDA device would run them; each operation that computes is
counted as one launch, and each that needs a value on the host as a wait. Triton's kernels are
counted and not run: the host reads none of their results.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any
from unittest import mock

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from mmlevelset.experiments.benchmarks import harness

aten = torch.ops.aten
WAITS = {
    aten._local_scalar_dense.default,
    aten.nonzero.default,
    aten.is_nonzero.default,
    aten.masked_select.default,
    aten.equal.default,
    aten._unique2.default,
}
FREE = {
    aten.empty.memory_format,
    aten.empty_like.default,
    aten.empty_strided.default,
    aten.new_empty.default,
    aten.new_empty_strided.default,
    aten._unsafe_view.default,
    aten.detach.default,
    aten.lift_fresh.default,
}


class Launches(TorchDispatchMode):
    """Counts ``launches`` and ``waits`` of the host."""

    def __init__(self) -> None:
        super().__init__()
        self.launches = self.waits = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        by_mask = func is aten.index.Tensor and any(
            index is not None and index.dtype == torch.bool for index in args[1]
        )
        if func in WAITS or by_mask:
            self.waits += 1
        elif func not in FREE and not func.is_view:
            self.launches += 1
        return func(*args, **(kwargs or {}))


@contextmanager
def counted() -> Iterator[Launches]:
    """Count what runs in the context, without Triton's kernels; needs ``TRITON_INTERPRET=1``."""
    from triton.runtime.interpreter import GridExecutor

    count = Launches()

    def start(*_, **__):
        count.launches += 1

    with mock.patch.object(GridExecutor, "__call__", start), count:
        yield count


def tree_calls(batch: int, masks: int, size: Sequence[int]) -> dict[str, dict[str, Callable]]:
    """Return the parts of a tree filter of guides with three channels, for each backend."""
    from mmlevelset.ops import minimum_spanning_tree, tree, tree_torch
    from mmlevelset.ops.kernels import tree as tree_triton

    guide, x = torch.rand(batch, 3, *size), torch.rand(batch, masks, size[0] * size[1])
    found = minimum_spanning_tree(guide, backend="torch")
    rest = x[:, 0].contiguous(), found.parent.flatten(1), found.order, found.height
    result, norm = tree_torch.forward(x, *rest)

    def parts(implementation: Any, spanning_tree: Callable[[], Any]) -> dict[str, Callable]:
        backward = partial(implementation.backward, x, x, *rest, result, norm)
        return {
            "a spanning tree": spanning_tree,
            "a filter": partial(implementation.forward, x, *rest),
            "its gradient by the maps": partial(backward, False),
            "its gradients by the maps and the weights": partial(backward, True),
        }

    return {
        "torch": parts(
            tree_torch, lambda: tree_torch.spanning_tree(tree._edge_weights(guide), *size)
        ),
        "triton": parts(tree_triton, partial(tree_triton.spanning_tree, guide)),
    }


def iteration(size: Sequence[int], images: int = 1) -> Callable[[], Any]:
    """Return a step of ``chan_vese`` as a CUDA device makes it."""
    from mmlevelset.ops.classic.getreuer_block import Parameters
    from mmlevelset.ops.classic.getreuer_solver import _Scheme

    image, phi = torch.rand(images, 1, *size), torch.randn(images, *size)
    scheme = _Scheme(image, phi, Parameters(0.2, 1, 1, 0.5, 1e-3, 9), False, image.numel())
    running = torch.ones(images, dtype=torch.bool)
    return lambda: scheme.step(running)


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, nargs=2, default=(200, 336), metavar=("H", "W"))
    parser.add_argument("--masks", type=int, default=8)
    options = parser.parse_args(words)
    os.environ["TRITON_INTERPRET"] = "1"  # before the first import of Triton
    torch.manual_seed(0)
    calls = tree_calls(1, options.masks, options.size)
    rows = []
    for name in calls["torch"]:
        for backend, parts in calls.items():
            with counted() as count:
                parts[name]()
            rows.append([name, backend, str(count.launches), str(count.waits)])
    step = iteration(options.size)
    with counted() as count:
        step()
    rows.append(["an iteration of chan_vese", "torch", str(count.launches), str(count.waits)])
    print(harness.table(["step", "backend", "launches", "waits of the host"], rows))
