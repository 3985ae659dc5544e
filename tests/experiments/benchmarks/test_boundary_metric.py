"""The benchmark of the boundary metric runs, and its values pass, at a size that says no speed."""

import subprocess
import sys


def test_it_runs(checkout):
    script = checkout / "tools" / "benchmarks" / "boundary_metric.py"
    small = ["--images", "3", "--objects", "4", "--size", "90", "120", "--boundary-ap"]
    done = subprocess.run(
        [sys.executable, script, *small], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "RED" not in done.stdout
    assert "12 objects, 36 detections" in done.stdout
    lines = [line.strip("|").split("|") for line in done.stdout.splitlines() if line[:1] == "|"]
    seconds = {cells[0].strip(): float(cells[1]) for cells in lines[2:]}
    whole = seconds.pop("whole evaluation")
    assert seconds.keys() == {"of it AF and BF", "of it Boundary AP"}
    assert sum(seconds.values()) <= whole + 0.2  # rounded
