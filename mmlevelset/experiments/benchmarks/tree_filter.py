"""Benchmark of the tree filter: one tree for all masks of an image, against SciPy's tree for each.

A step computes the weights, the spanning tree, the filtered masks and their gradient.

python tools/benchmarks/tree_filter.py                                  # CPU
python tools/benchmarks/tree_filter.py --device cuda
"""

import argparse
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
from scipy.sparse import coo_array, csc_array, csgraph
from scipy.sparse.linalg import splu
from torch import Tensor
from torch.nn.functional import avg_pool2d

from mmlevelset.experiments.benchmarks import harness
from mmlevelset.ops import minimum_spanning_tree, tree_filter


def example(options: argparse.Namespace, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return a smooth noisy guide, like a photograph, masks, and the gradient of their filter."""
    height, width = options.size
    guide = avg_pool2d(torch.rand(1, options.channels, height + 8, width + 8), 9, 1)
    guide = 4 * guide + 0.05 * torch.rand_like(guide)
    masks = torch.rand(1, count, height, width)
    return guide, masks, torch.randn_like(masks)


def scipy_tree(guide: np.ndarray, ranked: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return the breadth-first order and the parents (V,) of the minimum spanning tree.

    Args:
        guide: (C, H, W).
        ranked: Whether weights become ranks. Then the tree is unique, and SciPy sorts twice.
    """
    channels, height, width = guide.shape
    pixel = np.arange(height * width).reshape(height, width)
    first = np.concatenate((pixel[:, :-1].ravel(), pixel[:-1].ravel()))
    second = np.concatenate((pixel[:, 1:].ravel(), pixel[1:].ravel()))
    flat = guide.reshape(channels, -1)
    weights = np.zeros(len(first), guide.dtype)
    for channel in flat:
        weights += (channel[second] - channel[first]) ** 2
    if ranked:
        numbers = np.arange(1, len(first) + 1)
        weights[np.argsort(weights, kind="stable")] = numbers
    graph = coo_array((weights, (first, second)), shape=(pixel.size, pixel.size)).tocsr()
    return csgraph.breadth_first_order(csgraph.minimum_spanning_tree(graph), 0, directed=False)


def scipy_trees(guide: np.ndarray, count: int) -> None:
    for _ in range(count):
        scipy_tree(guide, ranked=False)


class SciPyTree:
    """A tree, and filters along it by sparse triangular solves in float64."""

    def __init__(self, guide: np.ndarray, sigma: float, ranked: bool) -> None:
        self.order, parent = scipy_tree(guide, ranked)
        size = len(self.order)
        self.features = guide.reshape(len(guide), -1).astype(np.float64)
        self.sigma = sigma
        self.child = self.order[1:]
        self.above = parent[self.child]
        step = self.features[:, self.child] - self.features[:, self.above]
        weight = np.exp(-(step**2).sum(0) / sigma)
        position = np.empty(size, np.int64)
        position[self.order] = np.arange(size)
        self.parent = position[self.above]
        rows = np.concatenate((np.arange(size), np.arange(1, size)))
        columns = np.concatenate((np.arange(size), self.parent))
        lower = csc_array((np.concatenate((np.ones(size), -weight)), (rows, columns)))
        self.solver = splu(lower, permc_spec="NATURAL", diag_pivot_thresh=0)
        self.weight = weight
        self.diagonal = 1 - np.concatenate(([0], weight)) ** 2

    def forward(self, mask: np.ndarray) -> np.ndarray:
        """Return the filtered mask (V,), and keep the values that the gradients need."""
        self.up, self.sums = self._sums(np.stack((mask, np.ones(len(mask))), 1)[self.order])
        self.result = self.sums[:, 0] / self.sums[:, 1]
        return self._pixels(self.result)

    def gradient(self, slope: np.ndarray) -> np.ndarray:
        """Return the gradient of the mask (V,)."""
        return self._pixels(self._sums((slope[self.order] / self.sums[:, 1])[:, None])[1][:, 0])

    def gradients(self, slope: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the gradients of the mask (V,) and of the guide (C, V)."""
        slope = slope[self.order] / self.sums[:, 1]
        up, sums = self._sums(np.stack((slope, -slope * self.result), 1))
        weight = self.weight[:, None]
        by_weight = up[1:] * (self.sums[self.parent] - weight * self.up[1:])
        by_weight += self.up[1:] * (sums[self.parent] - weight * up[1:])
        by_step = by_weight.sum(1) * self.weight * (-2 / self.sigma)
        size = len(self.order)
        by_guide = [
            np.bincount(self.child, flow, size) - np.bincount(self.above, flow, size)
            for flow in by_step * (self.features[:, self.child] - self.features[:, self.above])
        ]
        return self._pixels(sums[:, 0]), np.stack(by_guide)

    def _sums(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return weighted sums (V, K) over each pixel's descendants and over all pixels."""
        up = self.solver.solve(values, "T")
        return up, self.solver.solve(self.diagonal[:, None] * up)

    def _pixels(self, values: np.ndarray) -> np.ndarray:
        result = np.empty_like(values)
        result[self.order] = values
        return result


def tree_per_mask(
    masks: Tensor, guide: Tensor, slope: Tensor, sigma: float, ranked: bool = False
) -> tuple[Tensor, Tensor]:
    """Return all filtered masks and their gradients by SciPy, with a tree for each mask."""
    own_guide = guide[0].cpu().numpy()
    pairs = []
    for mask, own_slope in zip(
        masks[0].flatten(1).double().cpu().numpy(),
        slope[0].flatten(1).double().cpu().numpy(),
        strict=True,
    ):
        tree = SciPyTree(own_guide, sigma, ranked)
        pairs.append((tree.forward(mask), tree.gradient(own_slope)))
    result, gradient = (torch.from_numpy(np.stack(part)) for part in zip(*pairs, strict=True))
    return (
        result.view_as(masks).to(masks.device),
        gradient.view_as(masks).to(masks.device),
    )


def one_tree(
    masks: Tensor, guide: Tensor, slope: Tensor, sigma: float, backend: str, by_guide: bool = False
) -> tuple[Tensor, ...]:
    """Return all filtered masks and their gradients; with ``by_guide`` the guide's gradient."""
    masks = masks.detach().requires_grad_()
    guide = guide.detach().requires_grad_(by_guide)
    tree = minimum_spanning_tree(guide, backend=backend)
    result = tree_filter(masks, tree, guide, sigma, backend=backend)
    needed = (masks, guide) if by_guide else (masks,)
    return result, *torch.autograd.grad(result, needed, slope)


def candidates(
    options: argparse.Namespace, masks: Tensor, guide: Tensor, slope: Tensor
) -> dict[str, Callable[[], tuple[Tensor, ...]]]:
    own = {"Numba": "numba"} if masks.device.type == "cpu" else {"Triton": "triton"}
    backends = {**own, "plain PyTorch": "torch"}
    arguments = masks, guide, slope, options.sigma
    calls: dict[str, Callable[[], tuple[Tensor, ...]]] = {
        "SciPy, a tree per mask": partial(tree_per_mask, *arguments)
    }
    for by_guide in (False, True):
        for name, backend in backends.items():
            label = f"{name}, and the guide's gradient" if by_guide else name
            calls[label] = partial(one_tree, *arguments, backend, by_guide)
    return calls


def check(
    calls: dict[str, Callable[[], tuple[Tensor, ...]]],
    masks: Tensor,
    guide: Tensor,
    slope: Tensor,
    sigma: float,
) -> harness.Gate:
    """Compare ours with SciPy, which solves in float64."""
    gate = harness.Gate()
    _, parent = scipy_tree(guide[0].cpu().numpy(), ranked=True)
    parent[0] = 0  # SciPy's root has no parent
    for backend in ("numba" if guide.device.type == "cpu" else "triton", "torch"):
        found = minimum_spanning_tree(guide, backend=backend).parent.flatten().cpu()
        gate.equal(f"tree, {backend}", np.array_equal(found.numpy(), parent))
    want, want_slope = tree_per_mask(masks, guide, slope, sigma, ranked=True)
    want_guide = guide_gradient(masks, guide, slope, sigma)
    values = {name: call() for name, call in calls.items() if not name.startswith("SciPy")}
    for name, (got, got_slope, *rest) in values.items():
        gate.close(f"masks, {name}", got[0], want[0], 1e-5)
        gate.close(f"masks' gradient, {name}", got_slope[0], want_slope[0], 1e-5)
        for got_guide in rest:
            gate.close(f"guide's gradient, {name}", got_guide[0], want_guide, 1e-4)
    return gate


def guide_gradient(masks: Tensor, guide: Tensor, slope: Tensor, sigma: float) -> Tensor:
    """Return the gradient of the guide (C, H, W) by SciPy's solver, in float64."""
    tree = SciPyTree(guide[0].cpu().numpy(), sigma, ranked=True)
    total = np.zeros((guide.shape[1], masks[0, 0].numel()))
    for mask, own_slope in zip(masks[0].flatten(1), slope[0].flatten(1), strict=True):
        tree.forward(mask.double().cpu().numpy())
        total += tree.gradients(own_slope.double().cpu().numpy())[1]
    return torch.from_numpy(total).view_as(guide[0]).to(guide.device)


def main(words: Sequence[str] | None = None) -> None:
    parser = harness.arguments(__doc__.splitlines()[0])
    parser.add_argument("--masks", type=int, nargs="+", default=(8, 40))
    parser.add_argument("--channels", type=int, default=3, help="channels of the guide")
    parser.add_argument("--size", type=int, nargs=2, default=(200, 336), metavar=("H", "W"))
    parser.add_argument("--sigma", type=float, default=0.02)
    options = parser.parse_args(words)
    device = harness.prepare(options, words)
    for count in options.masks:
        guide, masks, slope = (value.to(device) for value in example(options, count))
        calls = candidates(options, masks, guide, slope)
        print(f"\n{count} masks of {options.size[0]} x {options.size[1]}, a step\n")
        check(calls, masks, guide, slope, options.sigma).finish()
        timed: dict[str, Callable[[], object]] = {
            **calls,
            "SciPy, the trees alone": partial(scipy_trees, guide[0].cpu().numpy(), count),
        }
        # torch does not count the memory of NumPy and SciPy.
        results = harness.measure(timed, device, options.rounds, memory=False)
        print("\n" + harness.time_and_memory(results, "SciPy, a tree per mask"), flush=True)
