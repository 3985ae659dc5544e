"""The benchmark of BoxLevelSet runs, and its values pass, at a size that says nothing of speed."""

import subprocess
import sys

import pytest


def run(checkout, *words):
    script = checkout / "tools" / "benchmarks" / "box_levelset.py"
    command = [sys.executable, script, "--threads", "1", "--rounds", "1", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


def rows(printed):
    """The last table: its first column, and the others as text."""
    lines = [line.strip("|").split("|") for line in printed.splitlines() if line.startswith("|")]
    return {cells[0].strip(): [cell.strip() for cell in cells[1:]] for cells in lines[2:]}


def test_trees(checkout):
    done = run(checkout, "trees", "--size", "64", "96", "--masks", "3", "2", "1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "RED" not in done.stdout
    table = rows(done.stdout)
    assert table["SciPy, two trees for each positive"][2] == "1.00x"
    assert "ours, two trees for each resolution" in table


@pytest.mark.slow
def test_step(checkout):
    small = ["--size", "64", "96", "--depth", "18", "--width", "64", "--batch", "1"]
    done = run(checkout, "step", *small, "--objects", "3", "--optimizer")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "RED" not in done.stdout
    table = rows(done.stdout)
    assert table["SOLOv2 of mmdet"][2] == "1.00"
    assert len(table) == 9


def test_size_that_the_levels_do_not_divide_is_refused(checkout):
    done = run(checkout, "--size", "60", "96")
    assert done.returncode == 2
    assert "error: --size must be multiples of 32, but is [60, 96]" in done.stderr
