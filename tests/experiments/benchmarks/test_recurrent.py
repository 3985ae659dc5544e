"""The benchmark of recurrent level sets runs, and its values pass, at a size that says no speed."""

import subprocess
import sys


def run(checkout, *options):
    script = checkout / "tools" / "benchmarks" / "recurrent.py"
    command = [sys.executable, script, *options, "--threads", "1", "--rounds", "1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "RED" not in done.stdout
    lines = [line.strip("|").split("|") for line in done.stdout.splitlines() if line[:1] == "|"]
    return done.stdout.count("  ok "), [[cell.strip() for cell in cells] for cells in lines]


def test_single_images(checkout):
    small = ["--size", "32", "36", "--original", "40", "48", "--batch", "3", "--solved", "1"]
    checks, rows = run(checkout, "rls", *small)
    assert checks == 5
    ratios = {row[0]: row[3:] for row in rows[2:]}
    assert ratios["F-ConNet"][0] == ratios["RLS, dense gates"][1] == "1.00"
    assert ratios["F-ConNet, 3 together"][0] == ratios["RLS, dense gates, 3 together"][1] == "1.00"
    assert "scikit-image's Chan-Vese, 40 x 48, tol 0.0001" in ratios


def test_crls(checkout):
    config = str(checkout / "configs" / "quickstart" / "crls_shapes.py")
    checks, rows = run(checkout, "crls", "--config", config, "--image-size", "64", "96")
    assert checks == 6
    names = ["RLS, N = 5", "F-ConNet", "no network"]
    assert [row[0] for row in rows] == ["", ":" + "-" * 9, *names] * 2
