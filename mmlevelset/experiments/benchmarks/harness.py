"""Shared parts of the benchmarks: checks of values, timing in turns, peak memory, tables.

Machines are noisy, so the candidates take turns within one process, and their medians are compared
as ratios. A benchmark checks all values before it measures a time.
"""

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from mmlevelset.errors import InputError, exit_on_input_error
from mmlevelset.experiments.machine import in_words, processor_and_threads, versions

os.environ.setdefault("KINETO_LOG_LEVEL", "5")  # the memory profiler's own messages


def arguments(description: str, **defaults: object) -> argparse.ArgumentParser:
    """Return a parser with ``--device``, ``--threads``, ``--rounds`` and ``--seed``."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    cores = len(os.sched_getaffinity(0))
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N")
    parser.add_argument("--threads", type=int, default=cores, help="CPU threads")
    parser.add_argument("--rounds", type=int, default=9, help="timed calls of each candidate")
    parser.add_argument("--seed", type=int, default=0)
    parser.set_defaults(**defaults)
    return parser


def prepare(options: argparse.Namespace, words: Sequence[str] | None = None) -> torch.device:
    """Set threads and seed, print the command and the machine, and return the device.

    Args:
        options: Parsed options of :func:`arguments`.
        words: The command's arguments, if they are not those of ``sys.argv``.
    """
    device = torch.device(options.device)
    if device.type == "cuda" and not torch.cuda.is_available():
        with exit_on_input_error(Path(sys.argv[0]).name):
            raise InputError(f"--device {options.device} needs a CUDA device, and torch finds none")
    if device.type == "cuda":
        torch.cuda.set_device(device)  # for the events of _seconds
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    words = sys.argv[1:] if words is None else words
    print(f"Command: python {' '.join([os.path.relpath(sys.argv[0]), *words])}")
    print(machine(device), flush=True)
    return device


def machine(device: torch.device) -> str:
    """Return the GPU, or the processor with its threads, and the versions in one line."""
    on_gpu = device.type == "cuda"
    hardware = torch.cuda.get_device_name(device) if on_gpu else processor_and_threads()
    packages = (
        "torch",
        "numpy",
        "scipy",
        "opencv",
        "edt",
        "SimpleITK",
        "scikit-image",
        "cucim",
        "triton",
    )
    return f"{hardware}; {in_words(versions(*packages))}"


class Gate:
    """Comparisons with a reference. A red comparison ends the benchmark before any timing."""

    def __init__(self) -> None:
        self.red = False

    def close(self, name: str, got: Tensor, want: Tensor, tolerance: float) -> None:
        """Compare all values. The largest difference counts, so that one wrong number is red.

        A difference is measured by the largest value of its row, the first index: a region, an
        image, a channel. Rows of less than a thousandth of the largest value count as that.
        """
        got, want = got.detach().double(), want.detach().double()
        if got.shape != want.shape:
            self.record(name, False, f"shape {tuple(got.shape)}, and not {tuple(want.shape)}")
            return
        if not want.numel():
            self.record(name, True, "no values")
            return
        rows = want.abs().reshape(len(want), -1) if want.ndim else want.abs().view(1, 1)
        size = rows.amax(1, keepdim=True) if want.ndim > 1 else rows.amax()
        size = size.clamp(min=max(1e-3 * rows.amax().item(), 1e-30))
        error = ((got - want).abs().reshape(rows.shape) / size).amax().item()
        self.record(name, error <= tolerance, f"largest error {error:.1e} (limit {tolerance:g})")

    def equal(self, name: str, same: bool) -> None:
        """Record whether values are identical."""
        self.record(name, bool(same), "identical" if same else "different")

    def finish(self) -> None:
        """Exit with status 1 if a comparison was red."""
        if self.red:
            sys.exit("The values are wrong, so nothing is timed.")

    def record(self, name: str, good: bool, finding: str) -> None:
        """Print a comparison, and note whether it is red."""
        self.red |= not good
        print(f"  {'ok ' if good else 'RED'} {name}: {finding}", flush=True)


@dataclass
class Result:
    """Measurements of a candidate.

    Attributes:
        seconds: The time of each call.
        peak: Peak of the bytes that torch allocated beyond the input.
        launch_bound: Whether the GPU waited for the host in a call.
    """

    seconds: list[float] = field(default_factory=list)
    peak: int | None = None
    launch_bound: bool = False

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)


def measure(
    candidates: Mapping[str, Callable[[], object]],
    device: torch.device,
    rounds: int,
    memory: bool = True,
) -> dict[str, Result]:
    """Time the candidates in turns, after two calls of each to warm up.

    Args:
        candidates: Functions without arguments, by name.
        device: The device that they run on.
        rounds: Number of timed calls of each candidate.
        memory: Whether to measure the peak memory as well.
    """
    results = {name: Result() for name in candidates}
    for name, call in candidates.items():
        call()
        call()
        if memory:
            results[name].peak = peak_memory(call, device)
        _progress(f"warmed up {name}")
    for turn in range(rounds):
        for name, call in candidates.items():
            seconds, waited = _seconds(call, device)
            results[name].seconds.append(seconds)
            results[name].launch_bound |= waited
        _progress(f"turn {turn + 1} of {rounds}")
    _progress("")
    return results


def _seconds(call: Callable[[], object], device: torch.device) -> tuple[float, bool]:
    """Return the seconds of a call, and whether a GPU started it before its launch was complete."""
    if device.type != "cuda":
        start = time.perf_counter()
        call()
        return time.perf_counter() - start, False
    # The large write empties the L2 cache, since in training the features come from memory. It also
    # keeps the GPU busy while the host launches the call, so the time is the GPU's, not the host's.
    size = min(8 << 30, torch.cuda.mem_get_info(device)[1] // 4)
    torch.empty(size, dtype=torch.uint8, device=device).zero_()
    begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    begin.record()
    call()
    waited = begin.query()
    end.record()
    torch.cuda.synchronize(device)
    return begin.elapsed_time(end) / 1e3, waited


def peak_memory(call: Callable[[], object], device: torch.device) -> int:
    """Return the peak of the bytes that torch allocated during the call and not before it."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        call()
        return torch.cuda.max_memory_allocated(device) - before
    with torch.profiler.profile(profile_memory=True) as profile:
        call()
    held = peak = 0
    for event in profile.profiler.kineto_results.events():
        if event.name() == "[memory]":
            held += event.nbytes()
            peak = max(peak, held)
    return peak


def copy_bandwidth(device: torch.device, size: int = 1 << 28) -> float:
    """Return the bytes a second, read and written, of copying a tensor of ``size`` bytes."""
    # full writes the source: pages that were never written share one page of zeros in the cache.
    source = torch.full((size,), 1, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    result = measure({"copy": lambda: target.copy_(source)}, device, 9, memory=False)["copy"]
    return 2 * size / min(result.seconds)


def table(headings: list[str], rows: list[list[str]]) -> str:
    """Return a Markdown table. All columns but the first are aligned to the right."""
    widths = [max(len(row[i]) for row in [headings, *rows]) for i in range(len(headings))]

    def line(cells: list[str]) -> str:
        padded = [cells[0].ljust(widths[0])]
        padded += [c.rjust(w) for c, w in zip(cells[1:], widths[1:], strict=True)]
        return f"| {' | '.join(padded)} |"

    rule = [":" + "-" * (widths[0] - 1)] + ["-" * (w - 1) + ":" for w in widths[1:]]
    return "\n".join([line(headings), line(rule), *map(line, rows)])


def time_and_memory(results: dict[str, Result], reference: str) -> str:
    """Return a table of the median times, their ratios to the reference, and the peak memory.

    The columns of memory are left out if the reference's memory was not measured or is 0.
    """
    base = results[reference]
    headings = ["", "median ms", "min-max", f"speed, {reference} = 1"]
    if base.peak:
        headings += ["peak MiB", "of its memory"]
    rows = []
    for name, result in results.items():
        spread = f"{min(result.seconds) * 1e3:.3g}-{max(result.seconds) * 1e3:.3g}"
        mark = " *" if result.launch_bound else ""
        ratio = f"{base.median / result.median:.2f}x"
        row = [name + mark, f"{result.median * 1e3:.3g}", spread, ratio]
        if base.peak and result.peak is not None:
            row += [f"{result.peak / 2**20:.1f}", f"{result.peak / base.peak:.2f}"]
        rows.append(row)
    text = table(headings, rows)
    if any(result.launch_bound for result in results.values()):
        text += "\n\n\\* includes waiting for the host, which was slower than the device"
    return text


def _progress(text: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)
