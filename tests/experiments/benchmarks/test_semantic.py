"""The benchmark of the level-set loss runs, and its values pass, at a size that says no speed."""

import subprocess
import sys


def test_both_parts(checkout):
    script = checkout / "tools" / "benchmarks" / "semantic.py"
    small = ["--size", "49", "65", "--batch", "2", "--depth", "11", "--rounds", "1"]
    command = [sys.executable, script, "--threads", "1", *small]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "RED" not in done.stdout
    assert done.stdout.count("  ok ") == 8
    lines = [line.strip("|").split("|") for line in done.stdout.splitlines() if line[:1] == "|"]
    rows = [[cell.strip() for cell in cells] for cells in lines]
    plain = [row for row in rows if row[0] == "cross-entropy"]
    both = [row for row in rows if row[0] == "with ours"]
    assert [row[3] for row in plain] == ["1.000", "1.000"] and len(both) == 2
    extra = float(both[0][5])  # of the losses alone, in softmaxes
    assert 0 < extra < 1.1
