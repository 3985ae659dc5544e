"""The Triton kernels of trees, in Triton's interpreter, against Kruskal's algorithm and PyTorch.

The interpreter takes a millisecond for an operation of a kernel, so the maps are small and come in
batches.
"""

import os
import subprocess
import sys
from importlib.util import find_spec

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmlevelset.ops import minimum_spanning_tree, tree_filter
from mmlevelset.ops.kernels import HAS_TRITON
from tests.ops.test_tree import make_guide

INTERPRETED = HAS_TRITON and os.environ.get("TRITON_INTERPRET") == "1"
pytestmark = pytest.mark.skipif(not INTERPRETED, reason="needs Triton's interpreter")
ON_CPU = "torch" if find_spec("numba") is None else "numba"


def check_trees(guide: torch.Tensor) -> None:
    want, got = (minimum_spanning_tree(guide, backend=name) for name in (ON_CPU, "triton"))
    for name, expected in want._asdict().items():
        found = getattr(got, name)
        assert torch.equal(found, expected), name
        assert found.dtype == torch.int64 and found.is_contiguous()


def kinds(height: int, width: int) -> torch.Tensor:
    """Maps (4, 2, H, W): random, constant, with many ties, and a ramp whose tree is a long path."""
    shape = (1, 2, height, width)
    ramp = (torch.arange(height * width).float() / 4).square().view(1, 1, height, width)
    drawn = [make_guide(shape, kind) for kind in ("random", "constant", "few values")]
    return torch.cat([*drawn, ramp.expand(shape)])


@pytest.mark.parametrize("programs", [1, 3])
def test_trees_are_the_cpus(programs, monkeypatch):
    from mmlevelset.ops.kernels import tree

    if programs > 1:
        monkeypatch.setattr(tree, "PIXELS", 16)
    check_trees(kinds(6, 7) if programs == 1 else kinds(5, 9)[:3])


@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (2, 1, 1, 7), (1, 2, 6, 1), (0, 2, 3, 4)])
def test_thin_maps_and_no_maps(shape):
    check_trees(make_guide(shape))


@pytest.mark.filterwarnings("ignore:(overflow|invalid value) encountered:RuntimeWarning")
def test_not_finite_edges_come_last():
    guide = torch.zeros(2, 1, 3, 4)
    guide[0, 0, :2, 1] = torch.tensor([torch.nan, torch.inf])
    guide[1, 0, 1] = torch.tensor([3e30, -3e30, 1e-30, torch.inf])
    check_trees(guide)


@settings(max_examples=4, deadline=None)
@given(st.integers(1, 5), st.integers(1, 5), st.integers(1, 4), st.integers(0, 2**31))
def test_trees_of_any_size_and_ties(height, width, values, seed):
    generator = torch.Generator().manual_seed(seed)
    check_trees(torch.randint(0, values, (2, 1, height, width), generator=generator).half())


@pytest.mark.parametrize("maps", [0, 2])
def test_filters_and_gradients_are_pytorchs(maps, monkeypatch):
    from mmlevelset.ops.kernels import tree as kernels

    monkeypatch.setattr(kernels, "CHANNELS", 2)  # maps of several programs
    guide = kinds(3, 5)[:2]
    tree = minimum_spanning_tree(guide)
    assert len(set(tree.height.tolist())) > 1
    generator = torch.Generator().manual_seed(0)
    x, slope = torch.randn(2, 2, maps, 3, 5, generator=generator)
    runs = []
    for backend in ("torch", "triton"):
        leaves = x.clone().requires_grad_(), guide.clone().requires_grad_()
        y = tree_filter(leaves[0], tree, leaves[1], 3.0, backend=backend)
        total = (y * slope).sum()
        only_x = torch.autograd.grad(total, leaves[0], retain_graph=True)
        runs.append([y, *only_x, *torch.autograd.grad(total, leaves)])
    for one, other in zip(*runs, strict=True):
        torch.testing.assert_close(other, one, rtol=1e-6, atol=1e-7)


@pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")
def test_not_finite_values_stay_in_their_map():
    guide = make_guide((1, 1, 3, 4))
    x = torch.zeros(1, 3, 3, 4)
    x[0, 1, 0, 0], x[0, 2, 1, 1] = torch.nan, -torch.inf
    y = tree_filter(x, minimum_spanning_tree(guide), guide, backend="triton")
    assert (y[0, 0] == 0).all() and y[0, 1:].isnan().all()


def test_operators_keep_their_promises_and_double_precision_is_refused():
    from mmlevelset.ops import tree

    guide = make_guide((1, 2, 2, 3))
    torch.library.opcheck(tree._spanning_tree, (guide, "triton"))
    with pytest.raises(RuntimeError, match="backend='triton' cannot run here: .*float64"):
        minimum_spanning_tree(guide.double(), backend="triton")


# Launches: the kernels are counted and not run.


def launches(batch: int, masks: int, *size: int) -> dict[str, tuple[int, int]]:
    from mmlevelset.experiments.benchmarks.launches import counted, tree_calls

    counts = {}
    for name, call in tree_calls(batch, masks, size)["triton"].items():
        with counted() as count:
            call()
        counts[name] = count.launches, count.waits
    return counts


def test_launches_do_not_grow_with_images_and_maps_and_the_host_never_waits():
    counts = launches(1, 1, 30, 40)
    assert counts == launches(4, 9, 30, 40)
    assert all(waits == 0 for _, waits in counts.values())
    rounds = (30 * 40 - 1).bit_length()
    most = (2 * rounds + 9, 2 * rounds + 7, 2 * rounds + 6, 2 * rounds + 12)
    assert all(count <= limit for (count, _), limit in zip(counts.values(), most, strict=True))


def test_kernels_compile_for_a_gpu_without_spills_and_without_fused_weights(checkout):
    script = checkout / "tools" / "benchmarks" / "compile_trees.py"
    command = [sys.executable, script, "--capability", "90"]
    run = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert run.returncode == 0, run.stdout + run.stderr
    assert run.stdout.count("| sm_90 |") == 13
