"""Benchmark of chan_vese against scikit-image and, on a CUDA device, cuCIM.

python tools/benchmarks/chan_vese.py
python tools/benchmarks/chan_vese.py --device cuda

A library that is not installed is left out.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from mmlevelset.experiments.benchmarks import harness
from mmlevelset.ops import chan_vese

Solver = Callable[[Tensor], tuple[Tensor, Tensor, list[Any]]]
"""A function of a grey image (H, W) that returns mask, phi and energies."""


def peers(device: torch.device, options: dict[str, Any]) -> tuple[dict[str, Solver], list[str]]:
    """Return the solvers of the installed libraries, and the names of missing libraries."""
    found: dict[str, Solver] = {}
    missing = []
    try:
        from skimage.segmentation import chan_vese as of_arrays

        def scikit_image(image: Tensor) -> Any:
            mask, phi, energies = of_arrays(image.cpu().numpy(), extended_output=True, **options)
            return torch.from_numpy(mask), torch.from_numpy(phi), energies

        found["scikit-image (CPU)"] = scikit_image
    except ImportError:
        missing.append("scikit-image")
    if device.type != "cuda":
        return found, missing
    try:
        import cupy
        from cucim.skimage.segmentation import chan_vese as of_device_arrays

        def cucim(image: Tensor) -> Any:
            result = of_device_arrays(cupy.asarray(image), extended_output=True, **options)
            return torch.as_tensor(result[0]), torch.as_tensor(result[1]), result[2]

        found["cuCIM"] = cucim
    except ImportError:
        missing.append("cuCIM")
    return found, missing


def photograph(size: int) -> tuple[Tensor, str]:
    """Return a grey image (size, size) with values about [0, 1], and its source."""
    try:
        from skimage.data import camera

        image, source = torch.from_numpy(camera()) / 255, "scikit-image's camera, resized"
    except ImportError:
        y, x = torch.meshgrid(*[torch.linspace(0, 1, 512)] * 2, indexing="ij")
        image = 0.5 + 0.3 * torch.sin(25 * x * (1 + y)) * torch.sin(21 * y) + 0.2 * (x - y)
        source = "generated waves"
    resized = functional.interpolate(image[None, None], (size, size), mode="bicubic")
    return resized[0, 0], source


def workloads(dtype: torch.dtype, device: torch.device) -> tuple[dict[str, Tensor], str]:
    """Return noisy images (B, C, H, W): a large image, a batch of small images, a colour image."""
    large, source = photograph(1024)
    small, middle = photograph(256)[0], photograph(512)[0]
    images = {
        "one 1024x1024": large[None, None],
        "sixteen 256x256": torch.stack([small.roll(16 * k, k % 2) for k in range(16)])[:, None],
        "one 3x512x512": torch.stack([middle, middle.flip(1), middle.square()])[None],
    }
    noisy = {name: batch + 0.05 * torch.randn(batch.shape) for name, batch in images.items()}
    return {name: batch.to(device, dtype) for name, batch in noisy.items()}, source


def as_written(image: Tensor, iterations: int) -> tuple[Tensor, Tensor, list[float]]:
    """Return mask, phi and energies of an image (C, H, W) after that many steps, in float64.

    Getreuer's scheme in scikit-image's form, with the defaults mu = 0.25, dt = 0.5 and the
    checkerboard; squared distances are averaged over channels.
    """
    mu, dt = 0.25, 0.5
    image = image.double() - image.double().amin()
    image = image / image.amax()
    height, width = image.shape[1:]
    y, x = (torch.sin(torch.arange(n, dtype=torch.float64) * torch.pi / 5) for n in (height, width))
    phi = (y[:, None] * x).to(image.device)
    energies = []
    for _ in range(iterations):
        wide = functional.pad(phi[None], (1, 1, 1, 1), mode="replicate")[0]
        right, left, below, above = wide[1:-1, 2:], wide[1:-1, :-2], wide[2:, 1:-1], wide[:-2, 1:-1]
        dx, dy = (right - left) / 2, (below - above) / 2
        delta = 1 / (1 + phi**2)
        soft = 0.5 + torch.atan(phi) / torch.pi
        first, second = _squares(image, soft)
        energy = soft * first + (1 - soft) * second + mu * delta * torch.hypot(dx, dy)
        energies.append(energy.sum().item())
        first, second = _squares(image, (phi > 0).double())
        sides = [(right, right - phi, dy), (left, phi - left, dy)]
        sides += [(below, below - phi, dx), (above, phi - above, dx)]
        weights = [1 / torch.sqrt(1e-16 + along**2 + across**2) for _, along, across in sides]
        pull = sum(weight * side[0] for weight, side in zip(weights, sides, strict=True))
        phi = phi + dt * delta * (mu * pull + second - first)
        phi = phi / (1 + mu * dt * delta * sum(weights))
    return phi > 0, phi, energies


def _squares(image: Tensor, share: Tensor) -> tuple[Tensor, Tensor]:
    """Return the squared distances (H, W) to the means of the inside and of the outside."""
    found = []
    for weight in (share, 1 - share):
        mean = (image * weight).sum((1, 2)) / weight.sum().clamp(min=1e-12)
        found.append((image - mean[:, None, None]).square().mean(0))
    return found[0], found[1]


def check(gate: harness.Gate, title: str, got: Any, want: Any, tolerance: float) -> None:
    """Compare masks, phi and energies of a batch with the results of its images one by one."""
    mask, phi, energies = got
    gate.equal(f"{title}, mask", torch.equal(mask.cpu(), torch.stack([w[0].cpu() for w in want])))
    same = [len(of_image) for of_image in energies] == [len(w[2]) for w in want]
    gate.equal(f"{title}, iterations", same)
    gate.close(f"{title}, phi", phi.cpu(), torch.stack([w[1].cpu() for w in want]), tolerance)
    if same:
        one, other = (
            torch.tensor([float(value) for of_image in found for value in of_image])
            for found in (energies, [w[2] for w in want])
        )
        gate.close(f"{title}, energies", one, other, tolerance)


def loop(solver: Solver, images: Tensor) -> None:
    for image in images[:, 0]:
        solver(image)


def main(words: Sequence[str] | None = None) -> None:
    parser = harness.arguments(__doc__.splitlines()[0], rounds=5)
    parser.add_argument("--iterations", type=int, default=40, help="largest number of iterations")
    parser.add_argument("--dtype", choices=["float32", "float64"], default="float64")
    settings = parser.parse_args(words)
    device = harness.prepare(settings, words)
    dtype = getattr(torch, settings.dtype)
    options = dict(max_num_iter=settings.iterations)
    tolerance = 1e-6 if dtype == torch.float64 else 1e-3

    found, missing = peers(device, options)
    images, source = workloads(dtype, device)
    print(f"{source}, noise 0.05; {settings.dtype}, at most {settings.iterations} iterations")
    if missing:
        print(f"Not installed, so not compared with: {', '.join(missing)}")

    gate = harness.Gate()
    iterations = {}
    for title, batch in images.items():
        ours = chan_vese(batch, extended_output=True, **options)
        iterations[title] = max(len(energies) for energies in ours[2])
        if batch.shape[1] == 1:
            for name, solver in found.items():
                want = [solver(image) for image in batch[:, 0]]
                check(gate, f"{title}, {name}", ours, want, tolerance)
        written = [as_written(image, len(made)) for image, made in zip(batch, ours[2], strict=True)]
        check(gate, f"{title}, as written", ours, written, max(tolerance, 1e-5))
        if device.type != "cpu":
            masks, phi, energies = chan_vese(batch.cpu(), extended_output=True, **options)
            want = list(zip(masks, phi, energies, strict=True))
            check(gate, f"{title}, ours on the CPU", ours, want, tolerance)
    gate.finish()

    for title, batch in images.items():
        calls: dict[str, Callable[[], object]] = {}
        if batch.shape[1] == 1:
            calls = {name: partial(loop, solver, batch) for name, solver in found.items()}
        reference = next(iter(calls), "ours")
        calls["ours"] = partial(chan_vese, batch, **options)
        calls["ours, with energies"] = partial(chan_vese, batch, extended_output=True, **options)
        results = harness.measure(calls, device, settings.rounds, memory=False)
        alone = "; no other library takes several channels" if batch.shape[1] > 1 else ""
        print(f"\n{title}, {iterations[title]} iterations{alone}\n")
        print(harness.time_and_memory(results, reference))
        each = results["ours"].median / iterations[title] * 1e3
        print(f"\nours: {each:.3g} ms an iteration")
