"""Benchmark of exact signed distances of a batch of masks, against loops over SciPy and OpenCV.

python tools/benchmarks/signed_distance.py                                  # CPU
python tools/benchmarks/signed_distance.py --device cuda
"""

import argparse
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor

from mmlevelset.experiments.benchmarks import harness
from mmlevelset.ops import signed_distance


def loop_over(
    distance: Callable[[np.ndarray], np.ndarray], masks: Tensor, truncation: float | None
):
    """Return signed distances of masks by a loop over a function of one mask.

    Args:
        distance: Returns the distance of each pixel of a mask to the nearest pixel outside it.
        masks: (M, H, W) bool.
        truncation: Distance in pixels that becomes 1, or None.
    """
    results = []
    for mask in masks.cpu().numpy():
        result = np.where(mask, distance(mask) - 0.5, 0.5 - distance(~mask))
        results.append(result if truncation is None else (result / truncation).clip(-1, 1))
    return torch.from_numpy(np.stack(results).astype(np.float32)).to(masks.device)


def installed_peers() -> dict[str, Callable]:
    """Return functions of masks and truncation, from the installed libraries."""
    found: dict[str, Callable] = {}
    try:
        from scipy.ndimage import distance_transform_edt

        found["SciPy, loop"] = partial(loop_over, distance_transform_edt)
    except ImportError:
        print("SciPy is not installed")
    try:
        import cv2

        def opencv(mask: np.ndarray) -> np.ndarray:
            return cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)

        found["OpenCV, loop"] = partial(loop_over, opencv)
    except ImportError:
        print("OpenCV is not installed")
    return found


def example(options: argparse.Namespace) -> Tensor:
    """Return ellipses with wavy contours and holes, (M, H, W) bool."""
    height, width = options.size
    y = torch.linspace(-1, 1, height)[:, None]
    x = torch.linspace(-1, 1, width)
    centre_y, centre_x = 0.15 * torch.randn(2, options.regions, 1, 1)
    half_y, half_x = 0.4 + 0.6 * torch.rand(2, options.regions, 1, 1)
    waves = torch.randint(2, 9, (2, options.regions, 1, 1))
    level = ((y - centre_y) / half_y).square() + ((x - centre_x) / half_x).square()
    level = level + 0.4 * torch.sin(waves[0] * 3 * y) * torch.sin(waves[1] * 3 * x)
    return level < 1


def brute_force(mask: Tensor) -> Tensor:
    """Return the signed distances by the distances of all pairs of pixels."""
    pixels = torch.nonzero(torch.ones_like(mask)).double()
    own = mask.flatten()
    apart = torch.cdist(pixels, pixels).masked_fill(own[:, None] == own, torch.inf)
    return (torch.where(own, 1.0, -1.0) * (apart.amin(1) - 0.5)).view_as(mask)


def check(peers: dict[str, Callable], masks: Tensor, truncation: float) -> harness.Gate:
    """Compare ours with the libraries, and a quarter of three masks with all pairs of pixels."""
    gate = harness.Gate()
    height, width = masks.shape[1:]
    small = masks[:3, height // 2 :, width // 2 :]
    exact = torch.stack([brute_force(mask.cpu()) for mask in small]).to(masks.device)
    ours = signed_distance(masks, None)
    gate.close("ours against all pairs of pixels", signed_distance(small), exact, 1e-6)
    for name, function in peers.items():
        gate.close(f"ours against {name}", ours, function(masks, None), 1e-6)
        cut, other = signed_distance(masks, truncation), function(masks, truncation)
        gate.close(f"ours against {name}, truncated", cut, other, 1e-6)
    return gate


def main(words: Sequence[str] | None = None) -> None:
    parser = harness.arguments(__doc__.splitlines()[0])
    parser.add_argument("--regions", type=int, default=256)
    parser.add_argument("--size", type=int, nargs=2, default=(112, 112), metavar=("H", "W"))
    parser.add_argument(
        "--truncation", type=float, default=16.0, help="in pixels, as in training targets"
    )
    options = parser.parse_args(words)
    device = harness.prepare(options, words)
    masks = example(options).to(device)
    others = installed_peers()
    check(others, masks, options.truncation).finish()
    candidates = {**others, "ours": signed_distance}
    reference = next(iter(candidates))
    for truncation in (options.truncation, None):
        calls = {name: partial(call, masks, truncation) for name, call in candidates.items()}
        results = harness.measure(calls, device, options.rounds)
        cut = "not truncated" if truncation is None else f"truncated at {truncation:g} pixels"
        print(f"\n{tuple(masks.shape)}, {cut}\n")
        print(harness.time_and_memory(results, reference))
