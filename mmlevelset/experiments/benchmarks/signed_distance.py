"""Benchmark of exact signed distances of a batch of masks, against loops over other libraries.

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
    try:
        import edt

        found["edt, loop"] = partial(loop_over, edt.edt)
    except ImportError:
        print("edt is not installed")
    try:
        import SimpleITK as sitk

        def simple_itk(mask: np.ndarray) -> np.ndarray:
            # The filter measures to the nearest pixel of the object, so the outside is its object.
            outside = sitk.GetImageFromArray((~mask).astype(np.uint8))
            found = sitk.SignedMaurerDistanceMap(outside, False, False, False)
            return sitk.GetArrayViewFromImage(found).clip(0)

        found["SimpleITK, loop"] = partial(loop_over, simple_itk)
    except ImportError:
        print("SimpleITK is not installed")
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


def by_definition(masks: Tensor) -> Tensor:
    """Return the signed distances of masks (M, H, W) with both sides, in float64, by all offsets.

    The smallest squared distance over all pixels of the other side is the smallest over the rows of
    the smallest over the columns.
    """
    found = torch.zeros(masks.shape, dtype=torch.float64, device=masks.device)
    for side, sign in ((True, 1), (False, -1)):
        square = torch.where(masks == side, torch.inf, 0.0).double()
        for axis in (1, 2):
            place = torch.arange(masks.shape[axis], device=masks.device).double()
            apart = (place[:, None] - place).square()
            lines = square.movedim(axis, -1)
            least = torch.stack([(lines + one).amin(-1) for one in apart], -1)
            square = least.movedim(-1, axis)
        found = torch.where(masks == side, sign * (square.sqrt() - 0.5), found)
    return found


def check(peers: dict[str, Callable], masks: Tensor, truncation: float) -> harness.Gate:
    """Compare all pixels of all masks with the definition, and with the libraries."""
    gate = harness.Gate()
    ours, cut = signed_distance(masks, None), signed_distance(masks, truncation)
    exact = by_definition(masks)
    gate.close("ours against the definition", ours, exact, 1e-6)
    limited = (exact / truncation).clamp(-1, 1)
    gate.close("ours against the definition, truncated", cut, limited, 1e-6)
    for name, function in peers.items():
        gate.close(f"ours against {name}", ours, function(masks, None), 1e-6)
        gate.close(f"ours against {name}, truncated", cut, function(masks, truncation), 1e-6)
    return gate


def main(words: Sequence[str] | None = None) -> None:
    parser = harness.arguments(__doc__.splitlines()[0])
    parser.add_argument("--regions", type=int, default=256)
    parser.add_argument("--size", type=int, nargs=2, default=(112, 112), metavar=("H", "W"))
    parser.add_argument(
        "--truncation", type=float, default=16.0, help="in pixels, as in training targets"
    )
    parser.add_argument("--side", type=int, default=1024, help="of the mask with one pixel inside")
    options = parser.parse_args(words)
    device = harness.prepare(options, words)
    masks = example(options).to(device)
    far = torch.zeros(1, options.side, options.side, dtype=torch.bool, device=device)
    far[0, 3, 5] = True
    others = installed_peers()
    check(others, masks, options.truncation).finish()
    check(others, far, options.truncation).finish()
    candidates = {**others, "ours": signed_distance}
    reference = next(iter(candidates))
    for some, truncation in ((masks, options.truncation), (masks, None), (far, None)):
        calls = {name: partial(call, some, truncation) for name, call in candidates.items()}
        results = harness.measure(calls, device, options.rounds)
        cut = "not truncated" if truncation is None else f"truncated at {truncation:g} pixels"
        print(f"\n{tuple(some.shape)}, {cut}\n")
        print(harness.time_and_memory(results, reference))
