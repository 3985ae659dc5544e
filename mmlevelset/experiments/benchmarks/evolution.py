"""Benchmark of evolve_chan_vese against the equations as written, batched products, torch.compile.

python tools/benchmarks/evolution.py                                        # CPU
python tools/benchmarks/evolution.py --device cuda --regions 100 --dtype bfloat16
"""

import argparse
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from mmlevelset.experiments.benchmarks import harness
from mmlevelset.ops import curvature, dirac, evolve_chan_vese, heaviside

NAMES = ("phi0", "features", "lambda1", "lambda2", "mu", "eps", "dt")
Values = dict[str, Tensor]


def as_written(phi0, features, lambda1, lambda2, mu, eps, dt):
    """Return phi_N by equations 7-9 of LevelSet R-CNN as printed, with the mean over channels."""
    phi = phi0
    features = features.to(phi.dtype)
    lambda1, lambda2, mu = (value[:, None, None] for value in (lambda1, lambda2, mu))
    for step_eps, step_dt in zip(eps.unbind(1), dt.unbind(1), strict=True):
        step_eps, step_dt = step_eps[:, None, None], step_dt[:, None, None]
        inside = heaviside(phi, step_eps)[:, None]
        c1 = (features * inside).sum((2, 3), keepdim=True) / inside.sum((2, 3), keepdim=True)
        outside = 1 - inside
        c2 = (features * outside).sum((2, 3), keepdim=True) / outside.sum((2, 3), keepdim=True)
        first = ((features - c1) ** 2).mean(1)
        second = ((features - c2) ** 2).mean(1)
        force = mu * curvature(phi) - lambda1 * first + lambda2 * second
        phi = phi + step_dt * step_eps * dirac(phi, step_eps) * force
    return phi


def batched_products(phi0, features, lambda1, lambda2, mu, eps, dt):
    """Return phi_N by two batched matrix products a step: the squared distances are expanded."""
    channels = features.shape[1]
    lambda1, lambda2 = lambda1 / channels, lambda2 / channels
    phi = phi0
    features = features.to(phi.dtype).flatten(2)
    features = features - features.detach().mean(2, keepdim=True)
    squares = features.square().sum(1)
    for step_eps, step_dt in zip(eps.unbind(1), dt.unbind(1), strict=True):
        step_eps, step_dt = step_eps[:, None, None], step_dt[:, None, None]
        inside = heaviside(phi, step_eps)
        weights = torch.stack([inside, 1 - inside], 1).flatten(2)
        means = weights @ features.transpose(1, 2) / weights.sum(2, keepdim=True)
        c1, c2 = means.unbind(1)
        direction = lambda1[:, None] * c1 - lambda2[:, None] * c2
        constant = lambda2 * c2.square().sum(1) - lambda1 * c1.square().sum(1)
        data = (lambda2 - lambda1)[:, None] * squares + constant[:, None]
        data = data + 2 * (direction[:, None] @ features)[:, 0]
        force = mu[:, None, None] * curvature(phi) + data.view_as(phi)
        phi = phi + step_dt * step_eps * dirac(phi, step_eps) * force
    return phi


def example(options: argparse.Namespace, device: torch.device, dtype: torch.dtype) -> Values:
    """Return discs as phi0 (truncated distances), and noisy features of two regions."""
    m, c, n = options.regions, options.channels, options.steps
    h, w = options.size
    y = torch.arange(h)[:, None] - h / 2
    x = torch.arange(w) - w / 2
    truth = (y.square() + x.square()).sqrt() < 0.35 * min(h, w)
    phi0 = ((0.25 * min(h, w) - (y.square() + x.square()).sqrt()) / 16).clamp(-1, 1)
    contrast = torch.randn(m, c, 1, 1)
    return dict(
        phi0=(phi0 + 0.05 * torch.randn(m, h, w)).to(device),
        features=(contrast * truth + 0.5 * torch.randn(m, c, h, w)).to(device, dtype),
        lambda1=(0.5 + torch.rand(m)).to(device),
        lambda2=(0.5 + torch.rand(m)).to(device),
        mu=(0.1 * torch.rand(m)).to(device),
        eps=(0.5 + torch.rand(m, n)).to(device),
        dt=(0.5 + torch.rand(m, n)).to(device),
    )


def check(gate: harness.Gate, candidates: dict[str, Callable], values: Values) -> None:
    """Compare phi and all gradients of all regions with the equations in float64."""
    weight = torch.randn_like(values["phi0"])
    half = values["features"].dtype in (torch.float16, torch.bfloat16)

    def run(function: Callable, leaves: list[Tensor], weight: Tensor) -> list[Tensor]:
        leaves = [value.detach().requires_grad_() for value in leaves]
        result = function(*leaves)
        return [result.detach(), *torch.autograd.grad((result * weight).sum(), leaves)]

    # A few regions at a time: autograd keeps many copies of their features.
    parts = [
        run(as_written, [value[some].double() for value in values.values()], weight[some].double())
        for some in torch.arange(len(weight), device=weight.device).split(4)
    ]
    want = [torch.cat(part) for part in zip(*parts, strict=True)]
    for name, function in candidates.items():
        got = run(function, list(values.values()), weight)
        for quantity, one, other in zip(("phi", *NAMES), got, want, strict=True):
            tolerance = 5e-3 if half and quantity == "features" else 2e-4
            what = quantity if quantity == "phi" else f"gradient of {quantity}"
            gate.close(f"{name}, {what}", one, other, tolerance)


def main(words: Sequence[str] | None = None) -> None:
    parser = harness.arguments(__doc__.splitlines()[0])
    parser.add_argument("--regions", type=int, default=16)
    parser.add_argument("--channels", type=int, default=64)
    parser.add_argument("--size", type=int, nargs=2, default=(112, 112), metavar=("H", "W"))
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--dtype", choices=["float32", "float16", "bfloat16"], default="float32")
    parser.add_argument("--no-compile", action="store_true", help="leave torch.compile out")
    options = parser.parse_args(words)
    device = harness.prepare(options, words)
    values = example(options, device, getattr(torch, options.dtype))

    ours = "ours, Triton" if device.type == "cuda" else "ours"
    candidates: dict[str, Callable] = {
        "as written": as_written,
        "batched products": batched_products,
    }
    if not options.no_compile:
        candidates["compiled"] = torch.compile(batched_products, dynamic=False)
    if device.type == "cuda":
        candidates["ours, PyTorch"] = partial(evolve_chan_vese, backend="torch")
    candidates[ours] = evolve_chan_vese

    gate = harness.Gate()
    check(gate, candidates, values)
    gate.finish()

    bandwidth = harness.copy_bandwidth(device)
    size = values["features"].numel() * values["features"].element_size()
    passes = {"forward": options.steps + 1, "forward and backward": 2 * (options.steps + 1) + 1}
    leaves = [value.clone().requires_grad_() for value in values.values()]
    weight = torch.randn_like(values["phi0"])

    def train(function: Callable) -> None:
        torch.autograd.grad((function(*leaves) * weight).sum(), leaves)

    def infer(function: Callable) -> None:
        with torch.no_grad():
            function(*leaves)

    print(f"\nCopy bandwidth {bandwidth / 1e9:.1f} GB/s (read and written)")
    for title, run in (("forward", infer), ("forward and backward", train)):
        calls = {name: partial(run, function) for name, function in candidates.items()}
        results = harness.measure(calls, device, options.rounds)
        least = passes[title] * size / bandwidth
        print(
            f"\n{title}, {tuple(values['features'].shape)} {options.dtype}, N = {options.steps}\n"
        )
        print(harness.time_and_memory(results, "as written"))
        share = 100 * least / results[ours].median
        print(
            f"\n{passes[title]} passes over the features at that bandwidth: {least * 1e3:.3g} ms. "
            f"{ours}: {results[ours].median / least:.2f}x that, {share:.0f}% of the bandwidth"
        )
