"""Spanning trees against SciPy's, and tree filters against products along each path.

Tests run on both backends: compiled by Numba, and in plain PyTorch, which also runs on CUDA.
"""

import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmlevelset.ops import Tree, minimum_spanning_tree, tree, tree_filter

needs_numba = pytest.mark.skipif(find_spec("numba") is None, reason="needs numba")
BACKENDS = ("torch",) if find_spec("numba") is None else ("numba", "torch")
SHAPES = [(2, 3, 7, 9), (1, 1, 1, 1), (2, 2, 1, 8), (1, 2, 9, 1), (2, 1, 2, 2), (1, 4, 13, 6)]
KINDS = ("random", "constant", "few values")


def make_guide(shape, kind="random", dtype=torch.float32, seed=0):
    generator = torch.Generator().manual_seed(seed)
    if kind == "constant":
        return torch.full(shape, 0.3, dtype=dtype)
    if kind == "few values":
        return torch.randint(0, 3, shape, generator=generator).to(dtype)
    return torch.rand(shape, generator=generator, dtype=dtype)


def grid_edges(height, width):
    for row in range(height):
        for column in range(width - 1):
            yield row * width + column, row * width + column + 1
    for row in range(height - 1):
        for column in range(width):
            yield row * width + column, (row + 1) * width + column


def squared_distance(guide, a, b):
    flat = guide.flatten(1)
    return (flat[:, a] - flat[:, b]).square().sum()


def neighbours(guide):
    """Neighbours of each pixel in SciPy's tree, with edges ranked by (weight, number)."""
    sparse = pytest.importorskip("scipy.sparse")
    csgraph = pytest.importorskip("scipy.sparse.csgraph")
    height, width = guide.shape[1:]
    edges = list(grid_edges(height, width))
    weights = [squared_distance(guide, a, b).item() for a, b in edges]
    ranked = sorted(range(len(edges)), key=lambda number: (weights[number], number))
    size = height * width
    first, second = (np.array([edges[e][end] for e in ranked], dtype=np.int64) for end in (0, 1))
    graph = sparse.coo_array((np.arange(1.0, len(edges) + 1), (first, second)), shape=(size, size))
    found = csgraph.minimum_spanning_tree(graph.tocsr()).tocoo()
    linked = {pixel: set() for pixel in range(size)}
    for a, b in zip(found.row.tolist(), found.col.tolist(), strict=True):
        linked[a].add(b)
        linked[b].add(a)
    return linked


def oracle_filter(x, linked, guide, sigma=1.0):
    """Filter an image with the dense matrix S, filled by walks from each pixel; differentiable."""
    size = x.shape[1] * x.shape[2]
    rows = []
    for start in range(size):
        product = {start: torch.ones((), dtype=guide.dtype)}
        waiting = [start]
        while waiting:
            here = waiting.pop()
            for there in linked[here] - product.keys():
                weight = torch.exp(-squared_distance(guide, here, there) / sigma)
                product[there] = product[here] * weight
                waiting.append(there)
        rows.append(torch.stack([product[pixel] for pixel in range(size)]))
    similarity = torch.stack(rows)
    sums = x.flatten(1) @ similarity.T
    return (sums / similarity.sum(1)).view_as(x)


def links(parent):
    linked = {pixel: set() for pixel in range(len(parent))}
    for pixel, above in enumerate(parent):
        if pixel:
            linked[pixel].add(above)
            linked[above].add(pixel)
    return linked


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", SHAPES)
def test_is_the_minimum_spanning_tree(shape, kind, backend):
    guide = make_guide(shape, kind)
    found = minimum_spanning_tree(guide, backend=backend)
    for image, parent in zip(guide, found.parent.flatten(1).tolist(), strict=True):
        assert links(parent) == neighbours(image)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("shape", SHAPES)
def test_order_is_depth_first_and_height_the_greatest_depth(shape, backend):
    found = minimum_spanning_tree(make_guide(shape, "few values"), backend=backend)
    for parent, order, height in zip(
        found.parent.flatten(1).tolist(), found.order.tolist(), found.height.tolist(), strict=True
    ):
        assert parent[0] == order[0] == 0
        assert sorted(order) == list(range(len(parent)))
        path, greatest = [0], 0
        for pixel in order[1:]:
            while path[-1] != parent[pixel]:  # the parent is an ancestor of the last pixel
                path.pop()
            path.append(pixel)
            greatest = max(greatest, len(path) - 1)
        assert height == greatest


@needs_numba
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [*SHAPES, (3, 2, 41, 30), (0, 2, 3, 4)])
def test_backends_find_identical_trees(shape, kind, dtype):
    guide = make_guide(shape, kind).to(dtype)
    first, second = (minimum_spanning_tree(guide, backend=backend) for backend in BACKENDS)
    for name, expected in first._asdict().items():
        got = getattr(second, name)
        assert torch.equal(got, expected), name
        assert got.dtype == torch.int64 and got.is_contiguous()


@needs_numba
@settings(max_examples=40, deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 5), st.integers(0, 2**31))
def test_backends_agree_on_any_size(height, width, values, seed):
    generator = torch.Generator().manual_seed(seed)
    guide = torch.randint(0, values, (2, 1, height, width), generator=generator).float()
    x = torch.randn(2, 2, height, width, generator=generator)
    trees = [minimum_spanning_tree(guide, backend=backend) for backend in BACKENDS]
    assert all(torch.equal(a, b) for a, b in zip(*trees, strict=True))
    torch.testing.assert_close(
        *(tree_filter(x, trees[0], guide, 2.0, backend=backend) for backend in BACKENDS)
    )


@pytest.mark.parametrize("backend", BACKENDS)
def test_nan_and_infinite_edges_come_last(backend):
    guide = torch.zeros(1, 1, 2, 3)
    guide[0, 0, :, 1] = torch.tensor([torch.nan, torch.inf])
    # Edges 0 to 3 and 5 lead to a bad pixel; among equal edges the smallest number is taken.
    assert minimum_spanning_tree(guide, backend=backend).parent.tolist() == [[[0, 0, 1], [0, 3, 2]]]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("sigma", [None, 0.2])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (1, 1, 1, 1), (1, 2, 1, 6), (1, 2, 5, 1)])
def test_is_the_definition(shape, kind, sigma, backend):
    batch, _, height, width = shape
    tree_guide = make_guide(shape, kind)
    guide = make_guide((batch, 2, height, width), kind, torch.float64, seed=1).requires_grad_()
    x = torch.randn(batch, 3, height, width, dtype=torch.float64, requires_grad=True)
    slope = torch.randn_like(x)
    got = tree_filter(
        x, minimum_spanning_tree(tree_guide, backend=backend), guide, sigma, backend=backend
    )
    want = torch.stack(
        [
            oracle_filter(x[b], neighbours(tree_guide[b]), guide[b], sigma or 1.0)
            for b in range(batch)
        ]
    )
    torch.testing.assert_close(got, want)
    gradients = (
        torch.autograd.grad((y * slope).sum(), (x, guide), materialize_grads=True)
        for y in (got, want)  # the result of a single pixel does not depend on the guide
    )
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("backend", BACKENDS)
def test_gradcheck(backend):
    guide = make_guide((2, 2, 3, 4), dtype=torch.float64).requires_grad_()
    x = torch.randn(2, 3, 3, 4, dtype=torch.float64, requires_grad=True)
    found = minimum_spanning_tree(guide, backend=backend)
    assert torch.autograd.gradcheck(
        lambda x, guide: tree_filter(x, found, guide, 0.5, backend=backend), (x, guide)
    )


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("sigma", [0.02, 1.0])
def test_float32_is_precise_on_smooth_maps(sigma, backend):
    guide = torch.nn.functional.avg_pool2d(make_guide((1, 3, 64, 84)), 5, 1).requires_grad_()
    x = make_guide((1, 4, 60, 80), seed=1).requires_grad_()
    found = minimum_spanning_tree(guide)
    slope = torch.randn_like(x)
    values = []
    for dtype in (torch.float32, torch.float64):
        y = tree_filter(x.to(dtype), found, guide.to(dtype), sigma, backend=backend)
        assert y.dtype == dtype
        values.append([y, *torch.autograd.grad((y * slope).sum(), (x, guide))])
    for one, other in zip(*values, strict=True):
        assert (one - other).norm() <= 2e-5 * other.norm()


@pytest.mark.parametrize("backend", BACKENDS)
def test_constant_stays_and_zero_weights_are_the_identity(backend):
    guide = make_guide((2, 3, 6, 7))
    found = minimum_spanning_tree(guide)
    constant = torch.full((2, 2, 6, 7), -3.7)
    torch.testing.assert_close(tree_filter(constant, found, guide, backend=backend), constant)
    x = torch.randn(2, 2, 6, 7)
    assert torch.equal(tree_filter(x, found, 1e3 * guide, 1e-4, backend=backend), x)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("dtype", "scale"),
    [
        (torch.float32, 1e-35),
        (torch.float32, 1e35),
        (torch.float64, 1e-150),
        (torch.float64, 1e300),
    ],
)
def test_any_magnitude(dtype, scale, backend):
    guide = make_guide((1, 2, 5, 6), dtype=dtype)
    x = torch.randn(1, 2, 5, 6, dtype=dtype)
    found = minimum_spanning_tree(guide)
    y = tree_filter(scale * x, found, guide, backend=backend)
    torch.testing.assert_close(y / scale, tree_filter(x, found, guide, backend=backend))


@pytest.mark.parametrize("backend", BACKENDS)
def test_constant_guide_gives_the_mean(backend):
    guide = torch.zeros(1, 1, 5, 6)
    x = torch.randn(1, 3, 5, 6)
    y = tree_filter(x, minimum_spanning_tree(guide), guide, backend=backend)
    torch.testing.assert_close(y, x.mean((2, 3), keepdim=True).expand_as(y))


@pytest.mark.parametrize("backend", BACKENDS)
def test_channels_are_independent_and_similarity_symmetric(backend):
    guide = make_guide((1, 2, 4, 5), dtype=torch.float64)
    found = minimum_spanning_tree(guide)
    x = torch.eye(20, dtype=torch.float64).view(1, 20, 4, 5)
    y = tree_filter(x, found, guide, backend=backend)
    shuffled = torch.randperm(20)
    assert torch.equal(tree_filter(x[:, shuffled], found, guide, backend=backend), y[:, shuffled])
    normalised = y.view(20, 20).T  # S_ij / sum_j S_ij, and S_ii = 1
    similarity = normalised / normalised.diagonal()[:, None]
    torch.testing.assert_close(similarity, similarity.T)
    assert (similarity > 0).all() and (similarity < 1 + 1e-12).all()


@pytest.mark.parametrize("backend", BACKENDS)
def test_same_result_in_each_run(backend):
    guide = make_guide((2, 3, 23, 31)).requires_grad_()
    x = torch.randn(2, 5, 23, 31, requires_grad=True)
    runs = []
    for _ in range(2):
        found = minimum_spanning_tree(guide, backend=backend)
        y = tree_filter(x, found, guide, 0.1, backend=backend)
        runs.append([y, *torch.autograd.grad(y.square().sum(), (x, guide))])
    assert all(torch.equal(a, b) for a, b in zip(*runs, strict=True))


@pytest.mark.parametrize("backend", BACKENDS)
def test_only_what_needs_a_gradient_gets_one(backend):
    guide = make_guide((1, 2, 4, 5))
    x = torch.randn(1, 3, 4, 5)
    found = minimum_spanning_tree(guide)
    slope = torch.randn(1, 3, 4, 5)

    def gradients(*needed):
        values = {"x": x.clone(), "guide": guide.clone()}
        for name in needed:
            values[name].requires_grad_()
        y = tree_filter(values["x"], found, values["guide"], backend=backend)
        return torch.autograd.grad((y * slope).sum(), [values[name] for name in needed])

    both = gradients("x", "guide")
    torch.testing.assert_close(gradients("x")[0], both[0])
    torch.testing.assert_close(gradients("guide")[0], both[1])


@pytest.mark.parametrize("backend", BACKENDS)
def test_no_maps_no_images_and_strided_arguments(backend):
    guide = make_guide((2, 3, 4, 5))
    found = minimum_spanning_tree(guide)
    none = torch.zeros(2, 0, 4, 5, requires_grad=True)
    y = tree_filter(none, found, guide.clone().requires_grad_(), backend=backend)
    assert y.shape == none.shape
    y.sum().backward()
    empty = minimum_spanning_tree(guide[:0], backend=backend)
    assert tree_filter(guide[:0], empty, guide[:0], backend=backend).shape == (0, 3, 4, 5)
    strided = guide.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
    again = minimum_spanning_tree(strided, backend=backend)
    assert torch.equal(again.parent, found.parent)
    apart = Tree(*(part.repeat_interleave(2, -1)[..., ::2] for part in found))
    assert torch.equal(
        tree_filter(strided, apart, strided, backend=backend),
        tree_filter(guide, found, guide, backend=backend),
    )


@pytest.mark.parametrize("backend", BACKENDS)
def test_not_finite_values_stay_visible(backend):
    guide = make_guide((1, 1, 3, 4))
    x = torch.zeros(1, 2, 3, 4)
    x[0, 1, 0, 0] = torch.nan
    y = tree_filter(x, minimum_spanning_tree(guide), guide, backend=backend)
    assert (y[0, 0] == 0).all() and y[0, 1].isnan().all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_and_autocast_compute_in_float32(dtype):
    guide, x = make_guide((1, 3, 5, 6)).to(dtype), torch.randn(1, 2, 5, 6).to(dtype)
    found = minimum_spanning_tree(guide)
    want = tree_filter(x.float(), found, guide.float(), 0.1)
    assert torch.equal(tree_filter(x, found, guide, 0.1), want)
    x, guide = x.float().requires_grad_(), guide.float().requires_grad_()
    gradients = torch.autograd.grad(tree_filter(x, found, guide, 0.1).square().sum(), (x, guide))
    for backend in BACKENDS:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert torch.equal(minimum_spanning_tree(guide, backend=backend).parent, found.parent)
            y = tree_filter(x, found, guide, 0.1, backend=backend)
            got = torch.autograd.grad(y.square().sum(), (x, guide))
        torch.testing.assert_close(y, want)
        for one, other in zip(got, gradients, strict=True):
            torch.testing.assert_close(one, other)


@pytest.mark.parametrize("backend", BACKENDS)
def test_ops_keep_their_promises(backend):
    guide = make_guide((2, 3, 4, 5))
    torch.library.opcheck(tree._spanning_tree, (guide, backend))
    parent, order, height = minimum_spanning_tree(guide)
    x = torch.randn(2, 20, 3).mT  # not contiguous
    weight = torch.rand(2, 20)
    rest = weight, parent.flatten(1), order, height
    with_gradient = (x.clone().requires_grad_(), weight.clone().requires_grad_())
    torch.library.opcheck(tree._filter, (*with_gradient, *rest[1:], backend))
    result, norm = tree._filter(x, *rest, backend)
    for needs_weight in (True, False):
        arguments = torch.randn(2, 3, 20), x, *rest, result, norm, backend, needs_weight
        torch.library.opcheck(tree._filter_backward, arguments)


@pytest.mark.parametrize("backend", BACKENDS)
def test_compiles_to_one_graph(backend):
    def whole(x, guide):
        found = minimum_spanning_tree(guide, backend=backend)
        return tree_filter(x, found, guide, 0.3, backend=backend)

    x = torch.randn(1, 2, 4, 5, requires_grad=True)
    guide = make_guide((1, 3, 4, 5)).requires_grad_()
    compiled = torch.compile(whole, fullgraph=True, backend="aot_eager")
    runs = []
    for function in (whole, compiled):
        y = function(x, guide)
        runs.append([y, *torch.autograd.grad(y.square().sum(), (x, guide))])
    for one, other in zip(*runs, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("backend", BACKENDS)
def test_second_derivatives_are_refused(backend):
    guide = make_guide((1, 1, 2, 3))
    x = torch.randn(1, 1, 2, 3, requires_grad=True)
    y = tree_filter(x, minimum_spanning_tree(guide), guide, backend=backend)
    (slope,) = torch.autograd.grad(y.square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="no autograd formula"):
        torch.autograd.grad(slope.sum(), x)


def test_works_without_numba(checkout):
    code = """
import sys, warnings
sys.modules["numba"] = None
import torch
from mmlevelset.ops import minimum_spanning_tree, tree_filter
guide = torch.tensor([[[[0.0, 0.0, 9.0, 9.0]]]])
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    y = tree_filter(guide.new_tensor([[[[0, 1, 2, 4]]]]), minimum_spanning_tree(guide), guide)
print(y.tolist(), len(caught), "numba" in str(caught[0].message))
try:
    minimum_spanning_tree(guide, backend="numba")
except RuntimeError as error:
    print("numba cannot be imported" in str(error))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=checkout, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[:2] == ["[[[[0.5, 0.5, 3.0, 3.0]]]] 1 True", "True"]


@needs_numba
def test_compiles_without_a_place_for_a_cache(monkeypatch):
    import numba

    from mmlevelset.ops.compiled import compiled

    compile_it, asked = numba.njit, []

    def without_cache(*, cache=False, **options):
        asked.append(cache)
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return compile_it(**options)

    monkeypatch.setattr(numba, "njit", without_cache)
    doubled = compiled(lambda value: 2 * value)
    assert doubled(21) == 42
    assert asked == [True, False]


@pytest.mark.gpu
@pytest.mark.parametrize("backend", ["triton", "torch"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [*SHAPES, (2, 3, 60, 83)])
def test_cuda_is_the_cpu(shape, kind, backend):
    guide = make_guide(shape, kind)
    x = torch.randn(shape[0], 5, *shape[2:])
    slope = torch.randn_like(x)
    found = minimum_spanning_tree(guide)
    on_cuda = minimum_spanning_tree(guide.cuda(), backend=backend)
    assert all(torch.equal(a, b.cpu()) for a, b in zip(found, on_cuda, strict=True))
    runs = []
    for device in ("cpu", "cuda", "cuda"):
        values = [value.to(device).requires_grad_() for value in (x, guide)]
        own = dict(tree=on_cuda, backend=backend) if device == "cuda" else dict(tree=found)
        y = tree_filter(values[0], guide=values[1], sigma=0.3, **own)
        gradients = torch.autograd.grad((y * slope.to(device)).sum(), values)
        runs.append([value.cpu() for value in (y, *gradients)])
    for cpu, cuda, again in zip(*runs, strict=True):
        torch.testing.assert_close(cuda, cpu, rtol=1e-4, atol=1e-5)
        assert torch.equal(cuda, again)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (dict(x=torch.zeros(4, 5)), ValueError, r"x must have shape \(B, K, H, W\)"),
        (dict(x=torch.zeros(1, 2, 4, 5).int()), TypeError, "x must be floating point"),
        (dict(x=3.0), TypeError, "x must be a tensor, but is float"),
        (dict(guide=torch.zeros(1, 3, 5, 4)), ValueError, r"guide must have shape \(1, C, 4, 5\)"),
        (dict(guide=torch.zeros(1, 0, 4, 5)), ValueError, "guide must have at least one channel"),
        (dict(guide=torch.zeros(1, 3, 4, 5).long()), TypeError, "guide must be floating point"),
        (dict(guide=torch.zeros(1, 3, 4, 5, device="meta")), ValueError, "guide on meta"),
        (dict(tree=torch.zeros(1, 4, 5)), TypeError, "tree must be a Tree, but is Tensor"),
        (dict(x=torch.zeros(2, 4, 5), tree=()), TypeError, "tree must be a Tree, but is tuple"),
        (dict(sigma=0.0), ValueError, "sigma must be positive and finite, but is 0.0"),
        (dict(sigma=float("nan")), ValueError, "sigma must be positive and finite, but is nan"),
        (dict(sigma=torch.ones(())), TypeError, "sigma must be a number, but is Tensor"),
        (dict(backend="cuda"), ValueError, "backend must be 'auto', 'numba', 'torch' or 'triton'"),
    ],
)
def test_bad_arguments_are_named(change, error, message):
    guide = make_guide((1, 3, 4, 5))
    arguments = dict(x=torch.zeros(1, 2, 4, 5), tree=minimum_spanning_tree(guide), guide=guide)
    with pytest.raises(error, match=message):
        tree_filter(**(arguments | change))


@pytest.mark.parametrize(
    ("name", "value", "error", "message"),
    [
        ("parent", torch.zeros(1, 5, 4).long(), ValueError, r"tree.parent must have shape \(1, 4"),
        ("order", torch.zeros(1, 19).long(), ValueError, r"tree.order must have shape \(1, 20\)"),
        ("height", torch.zeros(2).long(), ValueError, r"tree.height must have shape \(1\)"),
        ("order", torch.zeros(1, 20).int(), TypeError, "tree.order must be int64"),
        ("height", torch.zeros(1, device="meta").long(), ValueError, "tree.height on meta"),
    ],
)
def test_trees_that_do_not_fit_are_named(name, value, error, message):
    guide = make_guide((1, 3, 4, 5))
    bad = minimum_spanning_tree(guide)._replace(**{name: value})
    with pytest.raises(error, match=message):
        tree_filter(guide, bad, guide)


@pytest.mark.parametrize(
    ("guide", "error", "message"),
    [
        (torch.zeros(4, 5), ValueError, r"guide must have shape \(B, C, H, W\)"),
        (torch.zeros(1, 3, 0, 5), ValueError, "guide must have at least one channel and pixel"),
        (torch.zeros(1, 3, 4, 5).int(), TypeError, "guide must be floating point"),
    ],
)
def test_bad_guides_are_named(guide, error, message):
    with pytest.raises(error, match=message):
        minimum_spanning_tree(guide)


def test_numba_is_refused_off_the_cpu():
    with pytest.raises(RuntimeError, match="cannot run here: the tensors are on meta"):
        minimum_spanning_tree(torch.zeros(1, 3, 4, 5, device="meta"), backend="numba")


def test_single_maps_and_arrays():
    guide, x = torch.rand(2, 3, 5, 4), torch.rand(2, 2, 5, 4)
    trees = minimum_spanning_tree(guide)
    expected = tree_filter(x, trees, guide)
    tree = minimum_spanning_tree(guide[1])
    assert all(torch.equal(one, many[1]) for one, many in zip(tree, trees, strict=True))
    torch.testing.assert_close(tree_filter(x[1], tree, guide[1]), expected[1])
    arrays = minimum_spanning_tree(guide.numpy())
    assert isinstance(arrays.parent, np.ndarray)
    got = tree_filter(x.numpy(), arrays, guide.numpy())
    assert isinstance(got, np.ndarray)
    np.testing.assert_array_equal(got, expected.numpy())
    with pytest.raises(ValueError, match=r"guide must have shape \(C, 5, 4\)"):
        tree_filter(x[1], tree, guide)
    with pytest.raises(TypeError, match="x must be a NumPy array as tree is"):
        tree_filter(x, arrays, guide.numpy())
