"""Benchmark of region_energy: many masks over one image, against the released formula.

python tools/benchmarks/region_energy.py                                    # CPU
python tools/benchmarks/region_energy.py --device cuda --regions 80
"""

import argparse
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from mmlevelset.experiments.benchmarks import harness
from mmlevelset.ops import region_energy


def as_released(features: Tensor, inside: Tensor, boxes: Tensor) -> Tensor:
    """Return the energies by BoxLevelSet's formula: maps of each instance, masked by its box.

    The energies are sums, not divided by channels and box areas. The computation has the dtype of
    ``inside``, float32 or float64.
    """
    features = features.to(inside.dtype) * boxes[:, None]
    first, second = (inside * boxes)[:, None], ((1 - inside) * boxes)[:, None]
    c1 = (features * first).sum((2, 3), keepdim=True)
    c1 = c1 / first.sum((2, 3), keepdim=True).clamp(min=1e-5)
    c2 = (features * second).sum((2, 3), keepdim=True)
    c2 = c2 / second.sum((2, 3), keepdim=True).clamp(min=1e-5)
    within = (features - c1) ** 2 * first
    without = (features - c2) ** 2 * second
    return within.sum((1, 2, 3)) + without.sum((1, 2, 3))


def product(features: Tensor, inside: Tensor, boxes: Tensor) -> Tensor:
    """Return the energies by one float32 matrix product of the centred map: squares expanded."""
    features = features.to(inside.dtype)
    features = features - features.detach().mean((1, 2), keepdim=True)
    columns = torch.cat([features, features.square().sum(0, keepdim=True)])
    weights = (torch.stack([inside, 1 - inside], 1) * boxes[:, None]).flatten(2)
    sums = weights @ columns.flatten(1).T
    areas = weights.sum(2).clamp(min=1e-5)
    return (sums[..., -1] - sums[..., :-1].square().sum(2) / areas).sum(1)


def example(
    regions: int, channels: int, options: argparse.Namespace, device: torch.device
) -> tuple[Tensor, Tensor, Tensor]:
    """Return a smooth noisy map, masks that follow it in part, and boxes of 1/8 to 1/2 a side."""
    height, width = options.size
    coarse = torch.randn(1, channels, 8, 8)
    smooth = torch.nn.functional.interpolate(coarse, (height, width), mode="bicubic")[0]
    features = smooth + 0.2 * torch.randn(channels, height, width)
    noise = torch.randn(regions, height, width)
    inside = torch.sigmoid(3 * smooth[torch.arange(regions) % channels] + noise)
    boxes = torch.zeros(regions, height, width)
    for box in boxes:
        h, w = ((torch.rand(2) * 3 + 1) / 8 * torch.tensor([height, width])).long().tolist()
        top, left = (torch.rand(2) * torch.tensor([height - h, width - w])).long().tolist()
        box[top : top + h, left : left + w] = 1
    dtype = getattr(torch, options.dtype)
    return features.to(device, dtype), inside.to(device), boxes.to(device)


def check(
    candidates: dict[str, Callable], features: Tensor, inside: Tensor, boxes: Tensor
) -> harness.Gate:
    """Compare values and gradients of all regions with the released formula in float64."""
    gate = harness.Gate()

    def run(function: Callable, dtype: torch.dtype | None) -> list[Tensor]:
        leaves = [x.detach().to(dtype or x.dtype).requires_grad_() for x in (features, inside)]
        energy = function(*leaves, boxes.to(dtype or boxes.dtype))
        weight = torch.linspace(0.5, 1.5, len(energy), device=energy.device)
        return [energy, *torch.autograd.grad((energy * weight).sum(), leaves)]

    want = run(as_released, torch.float64)
    for name, function in candidates.items():
        for quantity, got, right in zip(
            ("energy", "gradient of features", "gradient of inside"),
            run(function, None),
            want,
            strict=True,
        ):
            half = got.dtype in (torch.float16, torch.bfloat16)
            gate.close(f"{name}, {quantity}", got, right, 5e-3 if half else 1e-4)
    return gate


def main(words: Sequence[str] | None = None) -> None:
    parser = harness.arguments(__doc__.splitlines()[0])
    parser.add_argument("--regions", type=int, nargs="+", default=[40, 80])
    parser.add_argument(
        "--channels",
        type=int,
        nargs="+",
        default=[3, 9],
        help="maps of up to 3 channels, as an image, get no gradient",
    )
    parser.add_argument("--size", type=int, nargs=2, default=(200, 336), metavar=("H", "W"))
    parser.add_argument("--dtype", choices=["float32", "float16", "bfloat16"], default="float32")
    parser.add_argument("--no-compile", action="store_true", help="leave torch.compile out")
    options = parser.parse_args(words)
    device = harness.prepare(options, words)
    for channels in options.channels:
        for regions in options.regions:
            compare(regions, channels, options, device)


def compare(regions: int, channels: int, options: argparse.Namespace, device: torch.device) -> None:
    """Check, then time, and print the two tables of a size."""
    candidates: dict[str, Callable] = {"as released": as_released, "product": product}
    if not options.no_compile:
        torch.compiler.reset()
        candidates["compiled product"] = torch.compile(product, dynamic=False)
    candidates["ours"] = region_energy
    shape = f"{regions} masks, {channels} x {options.size[0]} x {options.size[1]} {options.dtype}"
    print(f"\n{shape}")
    features, inside, boxes = example(regions, channels, options, device)
    check(candidates, features, inside, boxes).finish()
    leaves = [inside.requires_grad_()]
    if channels > 3:
        leaves.append(features.requires_grad_())

    def infer(function: Callable) -> None:
        with torch.no_grad():
            function(features, inside, boxes)

    def train(function: Callable) -> None:
        torch.autograd.grad(function(features, inside, boxes).sum(), leaves)

    for title, run in (("forward", infer), ("forward and backward", train)):
        calls = {name: partial(run, function) for name, function in candidates.items()}
        results = harness.measure(calls, device, options.rounds)
        print(f"\n{title}, {shape}\n")
        print(harness.time_and_memory(results, "as released"), flush=True)
