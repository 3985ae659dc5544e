"""The command that compares the ops with their definitions on random inputs.

python tools/dev/fuzz_ops.py --count 10000
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from typing import Any

NAMES = (
    "heaviside",
    "dirac",
    "curvature",
    "contour_length",
    "signed_distance",
    "region_means",
    "region_energy",
    "evolve_chan_vese",
    "tree_filter",
)
DTYPES = ("float16", "bfloat16", "float32", "float64")


def main(words: Sequence[str] | None = None) -> None:
    """Compare; exit with status 1 if there are findings."""
    parser = argparse.ArgumentParser(
        description="Compare the ops and their gradients with float64 definitions.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--ops", nargs="+", choices=NAMES, default=NAMES, metavar="OP")
    parser.add_argument("--count", type=_positive, default=10000, help="inputs of each op")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--together", type=_positive, default=100, help="inputs in a batch")
    parser.add_argument("--batch", type=int, help="run this batch only")
    options = parser.parse_args(words)
    import torch

    torch.set_num_threads(1)
    findings = 0
    for name in options.ops:
        batches = range(-(-options.count // options.together))
        if options.batch is not None:
            batches = range(options.batch, options.batch + 1)
        for batch in batches:
            _show(f"{name}: batch {batch + 1} of {batches.stop}")
            count = min(options.together, options.count - batch * options.together)
            if options.batch is not None:
                count = options.together
            again = (
                f"python tools/dev/fuzz_ops.py --ops {name} --seed {options.seed} "
                f"--together {options.together} --batch {batch}"
            )
            for finding in compare(name, count, options.seed, batch):
                _show("")
                print(f"{name}, {finding}\n    {again}", flush=True)
                findings += 1
        _show("")
        inputs = len(batches) * options.together if options.batch is not None else options.count
        print(f"{name}: {inputs} inputs", flush=True)
    print(f"{findings} findings")
    if findings:
        sys.exit(1)


def _positive(word: str) -> int:
    number = int(word)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be positive, but is {number}")
    return number


def _show(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def compare(name: str, count: int, seed: int, batch: int) -> Iterator[str]:
    """Run a batch of an op, and describe each output or gradient that is wrong."""
    import torch

    from mmlevelset.experiments.fuzz.inputs import CASES, Draw

    dtype = getattr(torch, DTYPES[batch % len(DTYPES)])
    mixed = NAMES.index(name) + len(NAMES) * (batch + 1_000_003 * seed)
    draw = Draw(count, dtype, mixed)
    case = CASES[name](draw)
    weights = torch.Generator().manual_seed(mixed)

    def run(function: Any, inputs: dict) -> dict:
        leaves = {k: v.detach().clone() for k, v in inputs.items()}
        smooth = [v.requires_grad_() for v in leaves.values() if v.is_floating_point()]
        outputs = function(**leaves)
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        found = {f"output {i}": output.detach() for i, output in enumerate(outputs)}
        if not smooth:
            return found
        weights.manual_seed(mixed)
        total = sum(
            (o.double() * torch.rand(o.shape, generator=weights, dtype=torch.float64)).sum()
            for o in outputs
        )
        grads = torch.autograd.grad(total, smooth, allow_unused=True)
        names = [k for k, v in leaves.items() if v.is_floating_point()]
        pairs = zip(names, grads, smooth, strict=True)
        return found | {k: torch.zeros_like(v) if g is None else g for k, g, v in pairs}

    got = run(case.op, case.inputs)
    exact = {k: v.double() if v.is_floating_point() else v for k, v in case.inputs.items()}
    want = run(case.definition, exact)
    compute = torch.finfo(torch.float64 if dtype == torch.float64 else torch.float32)
    noise = max(compute.eps, 1e-14)
    # How much rounding of the inputs moves the result: no op can be better than that.
    moved = {k: torch.zeros_like(v) for k, v in want.items()}
    for _ in range(3):
        shaken = {
            k: v * (1 + noise * torch.randn(v.shape, generator=weights, dtype=torch.float64))
            if v.is_floating_point()
            else v
            for k, v in exact.items()
        }
        for k, v in run(case.definition, shaken).items():
            moved[k] = torch.maximum(moved[k], (v - want[k]).abs().nan_to_num(0.0))
    for k, right in want.items():
        yield from _differences(k, got[k], right, moved[k], case, compute.eps)


def _differences(
    name: str, got: Any, want: Any, moved: Any, case: Any, unit: float
) -> Iterator[str]:
    import torch

    if got.shape != want.shape:
        yield f"{name}: shape {tuple(got.shape)}, and not {tuple(want.shape)}"
        return
    if not want.numel():
        return
    limits = torch.finfo(got.dtype)
    # A value beyond the type's range is infinite, and so are the products that lead to it.
    representable = want.abs() < limits.max / 2
    value = got.double()
    error = (value - want).abs()

    def size(values: Any) -> Any:
        if case.each:
            return values
        rows = values.nan_to_num(0.0, 0.0, 0.0).reshape(len(values), -1).amax(1)
        return rows.view(-1, *[1] * (values.ndim - 1)).expand_as(values)

    scale = size(want.abs() * representable)
    rounding = case.rounding * (unit * scale + size(moved))
    allowed = 4 * limits.eps * scale + rounding + 4 * limits.tiny
    if name in case.slack:
        allowed = allowed + case.slack[name].view(-1, *[1] * (want.ndim - 1))
    representable &= allowed < limits.max
    wrong = (value.isnan() | (representable & ~(error <= allowed))) & want.isfinite()
    if wrong.any():
        index = tuple(wrong.nonzero()[0].tolist())
        what = name if name.startswith("output") else f"gradient of {name}"
        dtype = str(got.dtype).removeprefix("torch.")
        rows = int(wrong.reshape(len(want), -1).any(1).sum())
        yield (
            f"{what}, {dtype}, {rows} of {len(want)} inputs, at {index}: {value[index]:.6g}, and "
            f"not {want[index]:.6g} (limit {allowed[index]:.2g})"
        )
