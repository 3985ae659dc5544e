"""One tree and one filter for all masks of an image, against SciPy's tree for each mask.

A step is the weights, the spanning tree, the filtered masks and their gradient.

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
    """A smooth guide with noise, like a photograph's; masks; the gradient from above."""
    height, width = options.size
    guide = avg_pool2d(torch.rand(1, options.channels, height + 8, width + 8), 9, 1)
    guide = 4 * guide + 0.05 * torch.rand_like(guide)
    masks = torch.rand(1, count, height, width)
    return guide, masks, torch.randn_like(masks)


def scipy_tree(guide: np.ndarray, ranked: bool) -> tuple[np.ndarray, np.ndarray]:
    """Breadth-first order and parents (V,); ranks make it unique, at the price of sorting twice."""
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


def scipy_filter(
    mask: np.ndarray, guide: np.ndarray, sigma: float, slope: np.ndarray, ranked: bool
) -> tuple[np.ndarray, np.ndarray]:
    """One filtered mask (V,) and its gradient, from a tree of its own and sparse solves."""
    order, parent = scipy_tree(guide, ranked)
    flat = guide.reshape(len(guide), -1).astype(np.float64)
    size = len(order)
    child = order[1:]
    weight = np.exp(-((flat[:, child] - flat[:, parent[child]]) ** 2).sum(0) / sigma)
    position = np.empty(size, np.int64)
    position[order] = np.arange(size)
    rows = np.concatenate((np.arange(size), position[child]))
    columns = np.concatenate((np.arange(size), position[parent[child]]))
    lower = csc_array((np.concatenate((np.ones(size), -weight)), (rows, columns)))
    solver = splu(lower, permc_spec="NATURAL", diag_pivot_thresh=0)
    diagonal = 1 - np.concatenate(([0], weight)) ** 2

    def apply(values: np.ndarray) -> np.ndarray:
        solved = solver.solve(diagonal[:, None] * solver.solve(values[order], "T"))
        result = np.empty_like(solved)
        result[order] = solved
        return result

    sums, norm = apply(np.stack((mask, np.ones(size)), 1)).T
    return sums / norm, apply((slope / norm)[:, None])[:, 0]


def tree_per_mask(
    masks: Tensor, guide: Tensor, slope: Tensor, sigma: float, ranked: bool = False
) -> tuple[Tensor, Tensor]:
    """All filtered masks and their gradients by SciPy, each with a tree of its own."""
    pairs = [
        scipy_filter(mask, guide[0].cpu().numpy(), sigma, own_slope, ranked)
        for mask, own_slope in zip(
            masks[0].flatten(1).double().cpu().numpy(),
            slope[0].flatten(1).double().cpu().numpy(),
            strict=True,
        )
    ]
    result, gradient = (torch.from_numpy(np.stack(part)) for part in zip(*pairs, strict=True))
    return (
        result.view_as(masks).to(masks.device),
        gradient.view_as(masks).to(masks.device),
    )


def one_tree(
    masks: Tensor, guide: Tensor, slope: Tensor, sigma: float, backend: str, by_guide: bool = False
) -> tuple[Tensor, ...]:
    """All filtered masks and their gradients, and the guide's if asked."""
    masks = masks.detach().requires_grad_()
    guide = guide.detach().requires_grad_(by_guide)
    tree = minimum_spanning_tree(guide, backend=backend)
    result = tree_filter(masks, tree, guide, sigma, backend=backend)
    needed = (masks, guide) if by_guide else (masks,)
    return result, *torch.autograd.grad(result, needed, slope)


def candidates(
    options: argparse.Namespace, masks: Tensor, guide: Tensor, slope: Tensor
) -> dict[str, Callable[[], tuple[Tensor, ...]]]:
    backends = {"plain PyTorch": "torch"}
    if masks.device.type == "cpu":
        backends = {"Numba": "numba", **backends}
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
    """Each candidate of ours against SciPy, which solves in float64."""
    gate = harness.Gate()
    on_cpu = guide.device.type == "cpu"
    _, parent = scipy_tree(guide[0].cpu().numpy(), ranked=True)
    parent[0] = 0  # SciPy's root has none
    for backend in ("numba", "torch") if on_cpu else ("torch",):
        found = minimum_spanning_tree(guide, backend=backend).parent.flatten().cpu()
        gate.equal(f"tree, {backend}", np.array_equal(found.numpy(), parent))
    want, want_slope = tree_per_mask(masks, guide, slope, sigma, ranked=True)
    values = {name: call() for name, call in calls.items() if not name.startswith("SciPy")}
    for name, (got, got_slope, *_) in values.items():
        gate.close(f"masks, {name}", got, want, 1e-5)
        gate.close(f"masks' gradient, {name}", got_slope, want_slope, 1e-5)
    if on_cpu:
        first, second = (value[2] for value in values.values() if len(value) == 3)
        gate.close("guide's gradient, Numba against plain PyTorch", first, second, 1e-4)
    return gate


def main(words: Sequence[str] | None = None) -> None:
    parser = harness.arguments(__doc__.splitlines()[0])
    parser.add_argument("--masks", type=int, nargs="+", default=(8, 40))
    parser.add_argument("--channels", type=int, default=3, help="of the guide")
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
            "SciPy, those trees alone": partial(scipy_trees, guide[0].cpu().numpy(), count),
        }
        # The memory that NumPy and SciPy take is not torch's to count.
        results = harness.measure(timed, device, options.rounds, memory=False)
        print("\n" + harness.time_and_memory(results, "SciPy, a tree per mask"), flush=True)
