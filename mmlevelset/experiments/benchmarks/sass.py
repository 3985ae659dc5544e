"""Counting the instructions of a compiled CUDA kernel, from its machine code (SASS) as text."""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

LINE = re.compile(r'\s*//## File "(?P<file>[^"]+)", line (?P<line>\d+)')
LABEL = re.compile(r"\s*(?P<label>\.L\w+):")
INSTRUCTION = re.compile(r"\s+/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P\w+\s+)?(?P<name>[A-Z]\w*)(?P<rest>.*)")

Trips = Callable[[str, int], int]


def run_tool(name: str, cubin: bytes, *options: str) -> str:
    """Return what a tool of CUDA, one that comes with Triton, prints about a compiled kernel."""
    import triton

    tool = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / name
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        command = [str(tool), *options, file.name]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def disassemble(cubin: bytes) -> str:
    """Return the SASS of a kernel with the source line of each instruction."""
    return run_tool("nvdisasm", cubin, "--print-line-info", "--print-code")


def count(sass: str, trips: Trips) -> int:
    """Return the instructions that a warp issues from the kernel's start to its last EXIT.

    A loop is a jump back. Its body counts as often as the loop runs. Both sides of any other
    branch count, so the number is an upper bound. What follows the last EXIT does not count: the
    compiler puts paths there which a full tile does not take, and padding.

    Args:
        sass: Text of :func:`disassemble`.
        trips: Number of runs of a loop, given the file and the line of its head.
    """
    names: list[str] = []
    sources: list[tuple[str, int]] = []
    jumps: list[tuple[int, str]] = []
    labels: dict[str, int] = {}
    source, fresh = ("", 0), True
    for text in sass.splitlines():
        if found := LINE.match(text):
            # Of several lines the first is the innermost; the others say where it was inlined.
            if fresh:
                source, fresh = (found["file"], int(found["line"])), False
        elif found := LABEL.match(text):
            labels[found["label"]] = len(names)
        elif found := INSTRUCTION.match(text):
            fresh = True
            if found["name"] == "BRA" and (target := re.search(r"\.L\w+", found["rest"])):
                jumps.append((len(names), target[0]))
            names.append(found["name"])
            sources.append(source)
    if "EXIT" not in names:
        raise ValueError("the text must be SASS of a kernel, but has no EXIT")
    end = len(names) - names[::-1].index("EXIT")
    times = [int(name != "NOP") for name in names[:end]]
    for last, label in jumps:
        first = labels[label]
        if first <= last < end:
            runs = trips(*sources[last])
            times[first : last + 1] = [runs * each for each in times[first : last + 1]]
    return sum(times)
