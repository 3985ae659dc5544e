"""Benchmark of the contours of a batch of level sets, against a loop over scikit-image.

python tools/benchmarks/contours.py
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmlevelset.experiments.benchmarks import harness
from mmlevelset.ops import contours

Rings = list[np.ndarray]


def installed_peers() -> dict[str, Callable[[Tensor], list[Rings]]]:
    """Return functions of level sets, from the installed libraries."""
    try:
        from skimage.measure import find_contours
    except ImportError:
        print("scikit-image is not installed")
        return {}

    def scikit_image(phi: Tensor) -> list[Rings]:
        return [find_contours(one, 0.0) for one in phi.numpy()]

    return {"scikit-image, loop": scikit_image}


def example(regions: int, height: int, width: int) -> Tensor:
    """Return smooth level sets (M, H, W) of several blobs, negative on the border.

    Libraries join the regions at a saddle in different ways, so the waves are long: no pixel has a
    saddle.
    """
    longest = max(2, min(height, width) // 20)
    y = torch.linspace(0, np.pi, height, dtype=torch.float64)[:, None]
    x = torch.linspace(0, np.pi, width, dtype=torch.float64)
    phi = torch.zeros(regions, height, width, dtype=torch.float64)
    for _ in range(6):
        waves = torch.randint(1, longest, (2, regions, 1, 1))
        shift = torch.rand(2, regions, 1, 1, dtype=torch.float64) * np.pi
        phi += torch.sin(waves[0] * y + shift[0]) * torch.sin(waves[1] * x + shift[1])
    window = torch.sin(y) * torch.sin(x)
    return phi * window - 0.3


def points(rings: Sequence[Any]) -> Tensor:
    """Return all points of rings of (x, y), each once and sorted, (P, 2)."""
    together = np.concatenate([np.zeros((0, 2)), *[ring[:-1] for ring in rings]])
    return torch.from_numpy(together[np.lexsort(together.T.round(6))])


def area(rings: Sequence[Any]) -> float:
    """Return the sum of the signed areas of closed rings of (x, y)."""
    edges = [(ring[:-1, 0] * ring[1:, 1] - ring[1:, 0] * ring[:-1, 1]).sum() / 2 for ring in rings]
    return float(sum(edges))


def check(peers: dict[str, Callable[[Tensor], list[Rings]]], phi: Tensor) -> harness.Gate:
    """Compare all points, the numbers of rings and the areas of each level set."""
    gate = harness.Gate()
    ours = contours(phi)
    lone = [contours(one) for one in phi]
    same = [all(map(np.array_equal, a, b)) for a, b in zip(ours, lone, strict=True)]
    gate.equal("ours, the batch against one by one", all(same))
    for name, function in peers.items():
        theirs = [[ring[:, ::-1] for ring in rings] for rings in function(phi)]
        counts = [len(a) == len(b) for a, b in zip(ours, theirs, strict=True)]
        gate.equal(f"numbers of rings against {name}", all(counts))
        got, want = (torch.cat([points(rings) for rings in all_]) for all_ in (ours, theirs))
        gate.close(f"points against {name}", got, want, 1e-6)
        got, want = (torch.tensor([area(rings) for rings in all_]) for all_ in (ours, theirs))
        gate.close(f"areas against {name}", got, want, 1e-6)
    return gate


def main(words: Sequence[str] | None = None) -> None:
    parser = harness.arguments(__doc__.splitlines()[0])
    parser.add_argument("--regions", type=int, default=32)
    parser.add_argument("--size", type=int, nargs=2, default=(256, 256), metavar=("H", "W"))
    options = parser.parse_args(words)
    device = harness.prepare(options, words)
    phi = example(options.regions, *options.size)
    others = installed_peers()
    check(others, phi).finish()
    calls = {name: partial(call, phi) for name, call in {**others, "ours": contours}.items()}
    results = harness.measure(calls, device, options.rounds, memory=False)
    print(f"\n{tuple(phi.shape)}\n")
    print(harness.time_and_memory(results, next(iter(calls))))
