"""The evolution as a custom op: Triton's kernels, and PyTorch's requirements of an op.

Without a CUDA device the kernels run in Triton's interpreter (see conftest.py).
"""

import importlib
import subprocess
import sys

import pytest
import torch
from torch import nn
from torch.distributed.algorithms.ddp_comm_hooks.debugging_hooks import noop_hook
from torch.utils.checkpoint import checkpoint

from mmlevelset.ops import evolve_chan_vese
from tests.ops.test_evolution import NAMES, example, oracle

pytest.importorskip("triton")
kernels = importlib.import_module("mmlevelset.ops.kernels.evolution")
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def inputs(*shape, dtype=torch.float32):
    values = {
        name: value.to(DEVICE) for name, value in example(*shape, dtype=torch.float32).items()
    }
    values["features"] = values["features"].to(dtype)
    return {name: value.requires_grad_() for name, value in values.items()}


def with_gradients(function, values, **options):
    result = function(**values, **options)
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(result.shape, generator=generator).to(result)
    return [result, *torch.autograd.grad((result * weight).sum(), list(values.values()))]


def relative_errors(got, want):
    """The largest error over the regions, in the size of the region's values.

    A region whose values are less than a tenth of the others' counts as a tenth of their size.
    """
    errors = {}
    for name, one, other in zip(("phi", *NAMES), got, want, strict=True):
        one, other = (value.double().reshape(len(value), -1) for value in (one, other))
        sizes = other.norm(dim=1)
        least = 0.1 * sizes.square().mean().sqrt()
        errors[name] = ((one - other).norm(dim=1) / sizes.clamp(min=least + 1e-12)).max().item()
    return errors


def double(values):
    return {k: v.detach().double().requires_grad_() for k, v in values.items()}


SHAPES = [(1, 1, 5, 1, 1), (2, 4, 7, 9, 3), (1, 5, 1, 6, 2), (1, 17, 13, 21, 2), (1, 33, 12, 11, 2)]
BFLOAT16_SHAPES = [
    (1, 1, 5, 1, 1),
    (2, 4, 7, 9, 3),
    (3, 19, 5, 6, 1),
    (1, 64, 16, 16, 2),  # whole tiles: nothing is masked
    (2, 83, 4, 5, 1),  # two groups of channels
    (1, 3, 46, 47, 1),  # tiles of two parts
]


# The interpreter takes seconds for a shape.
@pytest.mark.parametrize(
    ("shape", "dtype"),
    [
        *((shape, torch.float32) for shape in (*SHAPES, (1, 83, 4, 5, 1))),
        *((shape, torch.bfloat16) for shape in BFLOAT16_SHAPES),
        *((shape, torch.float16) for shape in BFLOAT16_SHAPES[1:3]),
    ],
)
def test_kernels_are_the_definition(shape, dtype):
    values = inputs(*shape, dtype=dtype)
    options = [("mean", "printed"), ("sum", "derivative")][shape[0] == 1]
    got = with_gradients(
        evolve_chan_vese, values, reduction=options[0], delta=options[1], backend="triton"
    )
    exact = {name: value.cpu() for name, value in double(values).items()}
    want = with_gradients(
        lambda **v: oracle(v, mean=options[0] == "mean", printed=options[1] == "printed"), exact
    )
    assert got[0].dtype == torch.float32
    assert got[2].dtype == dtype
    errors = relative_errors([g.cpu() for g in got], want)
    for name, error in errors.items():
        rounding = torch.finfo(dtype).eps if name == "features" else 0
        assert error < (5e-5 if DEVICE == "cuda" else 1e-5) + rounding, (name, errors)


def test_more_tiles_than_are_added_at_a_time(monkeypatch):
    size = 96
    if DEVICE == "cpu":  # the interpreter reads the constant anew: few tiles will do
        language = pytest.importorskip("triton.language")
        monkeypatch.setattr(kernels, "SUMMED_TILES", language.constexpr(2))
        size = 23
    values = inputs(1, 2, size, size, 1)
    got = with_gradients(evolve_chan_vese, values, backend="triton")
    want = with_gradients(evolve_chan_vese, double(values), backend="torch")
    assert all(error < 5e-5 for error in relative_errors(got, want).values())


def test_an_outlier_does_not_spoil_the_centre():
    values = {k: v.detach() for k, v in inputs(1, 2, 8, 9, 2).items()}
    for place in ((4, 0), (2, 0), (5, 8)):
        values["features"][0, :, place[0], place[1]] = 1000.0
        leaves = {k: v.clone().requires_grad_() for k, v in values.items()}
        got = with_gradients(evolve_chan_vese, leaves, backend="triton", reduction="sum")
        want = with_gradients(evolve_chan_vese, double(leaves), backend="torch", reduction="sum")
        assert all(error < 5e-5 for error in relative_errors(got, want).values())
        values["features"][0, :, place[0], place[1]] = 0.0


@pytest.mark.parametrize("backend", ["torch", "triton"])
def test_a_clamped_area_has_no_gradient(backend):
    # Five pixels with H = 1e-6: their area is below the minimum, but their slopes matter.
    phi = -torch.linspace(1, 1.2, 5, dtype=torch.float64).view(1, 1, 5)
    features = torch.tensor([1.0, -2.0, 0.5, 3.0, -1.5], dtype=torch.float64).view(1, 1, 1, 5)
    one = torch.ones(1, dtype=torch.float64)
    eps, dt = torch.full((1, 1), 3e-6).double(), torch.full((1, 1), 1e6).double()
    centre = features.median() if backend == "triton" else features.mean()

    def definition(phi0, features, lambda1, lambda2, mu, eps, dt):
        phi = phi0
        inside = 0.5 + torch.atan(phi / eps) / torch.pi
        centred = (features - centre)[:, 0]
        c1 = (centred * inside).sum() / inside.sum().clamp(min=1e-5)
        c2 = (centred * (1 - inside)).sum() / (1 - inside).sum()
        delta = eps / (torch.pi * (eps**2 + phi**2))
        force = -lambda1 * (centred - c1) ** 2 + lambda2 * (centred - c2) ** 2
        return phi + dt * delta * force + 0 * mu

    values = dict(zip(NAMES, (phi, features, one, 0.5 * one, 0 * one, eps, dt), strict=True))
    exact = {k: v.clone().requires_grad_() for k, v in values.items()}
    assert (0.5 + torch.atan(phi / eps) / torch.pi).sum() < 1e-5
    want = with_gradients(definition, exact)
    if backend == "triton":
        values = {k: v.float().to(DEVICE) for k, v in values.items()}
    leaves = {k: v.clone().requires_grad_() for k, v in values.items()}
    got = with_gradients(evolve_chan_vese, leaves, backend=backend, delta="derivative")
    errors = relative_errors([g.cpu() for g in got], want)
    errors.pop("mu")  # the definition above has no curvature
    if backend == "triton":
        errors.pop("features")  # three of the five pixels decide the centre
    assert all(error < 1e-4 for error in errors.values()), errors


@pytest.mark.gpu  # the interpreter runs the programs one after another, so it could not fail
def test_two_runs_give_the_same_bits():
    values = inputs(3, 20, 13, 21, 3)
    first = with_gradients(evolve_chan_vese, values, backend="triton")
    second = with_gradients(evolve_chan_vese, values, backend="triton")
    assert all(torch.equal(one, other) for one, other in zip(first, second, strict=True))


def test_trajectory_of_the_kernels():
    values = inputs(2, 3, 6, 7, 3)
    got = with_gradients(evolve_chan_vese, values, backend="triton", return_trajectory=True)
    want = with_gradients(evolve_chan_vese, double(values), backend="torch", return_trajectory=True)
    assert all(error < 5e-5 for error in relative_errors(got, want).values())


def test_kernels_without_regions_or_steps():
    for shape in ((0, 4, 7, 9, 3), (2, 4, 7, 9, 0)):
        values = inputs(*shape)
        result, *grads = with_gradients(evolve_chan_vese, values, backend="triton")
        assert torch.equal(result, values["phi0"])
        assert [g.shape for g in grads] == [v.shape for v in values.values()]
        assert not grads[1].any()


def test_kernels_on_strided_input():
    values = inputs(2, 3, 6, 7, 2)
    strided = {
        k: v.detach().transpose(-1, -2).contiguous().transpose(-1, -2).requires_grad_()
        if v.ndim > 1
        else v
        for k, v in values.items()
    }
    got = with_gradients(evolve_chan_vese, strided, backend="triton")
    want = with_gradients(evolve_chan_vese, values, backend="triton")
    assert all(torch.equal(one, other) for one, other in zip(got, want, strict=True))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("fill", ["inside", "outside", "constant features", "huge phi", "offset"])
def test_kernels_in_degenerate_regions(fill, dtype):
    values = {k: v.detach() for k, v in inputs(1, 4, 7, 9, 2, dtype=dtype).items()}
    if fill == "constant features":
        values["features"].fill_(3.0)
    elif fill == "offset":
        values["features"] = 100 + 0.01 * values["features"]
    else:
        values["phi0"].fill_({"inside": 1.0, "outside": -1.0, "huge phi": 1e18}[fill])
    values = {k: v.requires_grad_() for k, v in values.items()}
    got = with_gradients(evolve_chan_vese, values, backend="triton")
    assert all(value.isfinite().all() for value in got)
    if fill != "huge phi":  # huge phi has areas below their minimum
        want = with_gradients(evolve_chan_vese, double(values), backend="torch")
        torch.testing.assert_close(got[0].double(), want[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("kind", "dtype"),
    [
        ("one offset", torch.bfloat16),
        ("an offset for each channel", torch.bfloat16),
        ("an offset for each channel", torch.float16),
        ("nearly empty", torch.bfloat16),
    ],
)
def test_half_precision_features_lose_no_digit(kind, dtype):
    values = {k: v.detach() for k, v in inputs(2, 5, 6, 9, 1).items()}
    if kind == "one offset":
        values["features"] += 100
    elif kind == "an offset for each channel":
        values["features"] += 4.0 ** torch.arange(-1, 4, device=DEVICE)[:, None, None]
    else:  # one pixel is near zero, the others are far outside
        values["phi0"] = values["phi0"] * 0.1 - 1
        values["phi0"][:, 4, 6] = -0.01
        values["eps"] = 1e-4 * values["eps"]
        values["dt"] = 1e3 * values["dt"]
    values["features"] = values["features"].to(dtype)
    values = {k: v.requires_grad_() for k, v in values.items()}
    got = with_gradients(evolve_chan_vese, values, backend="triton", delta="derivative")
    want = with_gradients(evolve_chan_vese, double(values), backend="torch", delta="derivative")
    errors = relative_errors(got, want)
    assert errors.pop("features") < torch.finfo(dtype).eps
    assert all(error < (5e-5 if DEVICE == "cuda" else 1e-5) for error in errors.values()), errors


def test_a_backend_that_cannot_run_is_an_error():
    values = {k: v.double() for k, v in inputs(1, 2, 5, 5, 1).items()}
    with pytest.raises(RuntimeError, match="backend='triton' cannot run here.*float64"):
        evolve_chan_vese(**values, backend="triton")


def test_the_kernels_need_cuda_or_the_interpreter(monkeypatch):
    monkeypatch.setenv("TRITON_INTERPRET", "0")
    values = {k: v.cpu() for k, v in inputs(1, 2, 5, 5, 1).items()}
    with pytest.raises(RuntimeError, match="backend='triton' cannot run here.*on cpu"):
        evolve_chan_vese(**values, backend="triton")


def test_an_old_triton_is_named(monkeypatch):
    package = importlib.import_module("mmlevelset.ops.kernels")
    assert package.is_outdated("3.4.0")
    assert not any(map(package.is_outdated, ("3.5.1+git1", "3.10.0", "4.0", "")))
    monkeypatch.setattr(package, "VERSION", "3.4.0")
    monkeypatch.setattr(package, "OUTDATED", True)
    values = inputs(1, 2, 5, 5, 1)
    with pytest.raises(RuntimeError, match=r"cannot run here.*need triton 3\.5.*3\.4\.0"):
        evolve_chan_vese(**values, backend="triton")


@pytest.mark.parametrize("backend, strided", [("torch", False), ("torch", True), ("triton", False)])
def test_opcheck(backend, strided):
    named = inputs(1, 2, 3, 4, 1)
    if strided:
        named = inputs(2, 2, 3, 4, 2)
        with torch.no_grad():
            named["features"] = named["features"].to(memory_format=torch.channels_last)
            named["eps"] = named["eps"].T.contiguous().T
        named = {name: value.requires_grad_() for name, value in named.items()}
    values = list(named.values())
    options = (1e-4, True, backend, [1.0, 1.0])
    torch.library.opcheck(torch.ops.mmlevelset.evolve_chan_vese, (*values, *options))
    values = [value.detach() for value in values]
    trajectory, means, areas = torch.ops.mmlevelset.evolve_chan_vese(*values, *options)
    torch.library.opcheck(
        torch.ops.mmlevelset.evolve_chan_vese_backward,
        (torch.rand_like(trajectory), trajectory, values[1], means, areas, *values[2:], *options),
    )


@pytest.mark.parametrize("backend", ["torch", "triton"])
def test_compiles_without_a_graph_break(backend):
    values = inputs(1, 2, 3, 4, 2)
    compiled = torch.compile(evolve_chan_vese, fullgraph=True, backend="aot_eager")
    got = with_gradients(compiled, values, backend=backend)
    want = with_gradients(evolve_chan_vese, values, backend=backend)
    for one, other in zip(got, want, strict=True):
        torch.testing.assert_close(one, other)


def test_half_precision_scalars():
    values = {k: v.detach() for k, v in inputs(2, 67, 5, 6, 2).items()}
    values |= {k: v.bfloat16() for k, v in values.items() if k not in ("phi0", "features")}
    got = evolve_chan_vese(**values)
    want = evolve_chan_vese(**{k: v.double() for k, v in values.items()})
    assert (got - want).norm() / want.norm() < 1e-6


def test_works_in_a_checkpoint_and_under_autocast():
    values = inputs(2, 3, 5, 6, 2)
    want = with_gradients(evolve_chan_vese, values)

    def recomputed(**named):
        return checkpoint(evolve_chan_vese, *named.values(), use_reentrant=False)

    with torch.autocast(DEVICE, dtype=torch.bfloat16):
        got = with_gradients(recomputed, values)
    assert all(torch.equal(one, other) for one, other in zip(got, want, strict=True))


def test_works_in_distributed_data_parallel(tmp_path):
    class Head(nn.Module):
        def __init__(self, values):
            super().__init__()
            for name, value in values.items():
                self.register_parameter(name, nn.Parameter(value.detach().clone()))

        def forward(self):
            return evolve_chan_vese(**dict(self.named_parameters()))

    values = inputs(2, 3, 5, 6, 2)
    want = torch.autograd.grad(evolve_chan_vese(**values).square().sum(), list(values.values()))
    store = f"file://{tmp_path / 'store'}"
    backend = "nccl" if DEVICE == "cuda" else "gloo"
    torch.distributed.init_process_group(backend, init_method=store, rank=0, world_size=1)
    try:
        model = nn.parallel.DistributedDataParallel(Head(values))
        # The thread of a reduction may be the last to hold the backward pass's Python context. If
        # the group ends meanwhile, torch 2.13 hangs: the destructor joins threads under the GIL.
        model.register_comm_hook(None, noop_hook)
        model().square().sum().backward()
    finally:
        torch.distributed.destroy_process_group()
    for parameter, grad in zip(model.module.parameters(), want, strict=True):
        torch.testing.assert_close(parameter.grad, grad)


@pytest.mark.parametrize("backend", ["torch", "triton"])
def test_saves_the_features_and_the_maps(backend):
    values = inputs(2, 8, 16, 16, 3, dtype=torch.bfloat16)
    saved = {}

    def keep(tensor):
        storage = tensor.untyped_storage()
        saved[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        evolve_chan_vese(**values, backend=backend)
    maps = 2 * 4 * 16 * 16 * 4
    few = sum(v.numel() for k, v in values.items() if v.ndim < 3) + 2 * 3 * 2 * (8 + 1) + 2 * 2
    assert sum(saved.values()) <= values["features"].numel() * 2 + maps + 4 * few


@pytest.mark.parametrize("words", ["90 64 112 bfloat16", "80 19 56 float32"])
def test_kernels_compile_for_gpus_without_spills_and_in_their_budget(checkout, words):
    script = checkout / "tools" / "benchmarks" / "compile_kernels.py"
    capability, channels, size, dtype = words.split()
    run = subprocess.run(
        [
            *(sys.executable, script, "--capability", capability, "--channels", channels),
            *("--size", size, "--dtype", dtype),
        ],
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert f"| sm_{capability} |" in run.stdout


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
@pytest.mark.parametrize("channels", [64, 67])
def test_kernels_at_full_size(channels, dtype):
    values = inputs(100, channels, 112, 112, 3, dtype=dtype)
    got = with_gradients(evolve_chan_vese, values, backend="triton")
    again = with_gradients(evolve_chan_vese, values, backend="triton")
    assert all(torch.equal(one, other) for one, other in zip(got, again, strict=True))
    del again
    want = with_gradients(evolve_chan_vese, double(values), backend="torch")
    errors = relative_errors(got, want)
    for name, error in errors.items():
        rounding = torch.finfo(dtype).eps if name == "features" else 0
        assert error < 1e-4 + rounding, (name, errors)


@pytest.mark.gpu
def test_auto_takes_the_kernels_and_neither_backend_takes_tf32():
    values = inputs(4, 16, 56, 56, 3)
    assert torch.equal(evolve_chan_vese(**values), evolve_chan_vese(**values, backend="triton"))
    exact = evolve_chan_vese(**double(values))
    torch.backends.cuda.matmul.allow_tf32 = True
    try:
        plain = evolve_chan_vese(**values, backend="torch")
        assert torch.backends.cuda.matmul.allow_tf32
    finally:
        torch.backends.cuda.matmul.allow_tf32 = False
    assert (plain - exact).norm() / exact.norm() < 1e-6
