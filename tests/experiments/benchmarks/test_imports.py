"""The benchmarks of the ops run on a machine that has torch, Triton, NumPy and SciPy alone."""

from tests.test_imports import OPTIONAL, run

OPS = (
    *("chan_vese", "compile_kernels", "compile_trees", "evolution", "launches", "region_energy"),
    "signed_distance",
)


def test_benchmarks_of_ops_load_no_openmmlab(checkout):
    rooms = "mmlevelset.experiments.benchmarks"
    names = ", ".join(f"{rooms}.{name}" for name in OPS)
    code = f"import sys, {names}; assert 'scipy' not in sys.modules; import {rooms}.tree_filter"
    hidden = (*(name for name in OPTIONAL if name != "scipy"), "matplotlib")
    done = run(code, checkout, hidden)
    assert done.returncode == 0, done.stderr
