import numpy as np
import pytest
import torch

from mmlevelset.ops import dirac, heaviside
from mmlevelset.ops.functions import MINIMUM_EPS

SMOOTH = ["arctan", "tanh", "sigmoid"]


@pytest.mark.parametrize("kind", SMOOTH)
def test_matches_its_formula(kind):
    z, eps = torch.linspace(-3, 3, 41, dtype=torch.float64), 0.7
    expected = {
        "arctan": 0.5 * (1 + 2 / torch.pi * torch.atan(z / eps)),
        "tanh": 0.5 * (1 + torch.tanh(z / eps)),
        "sigmoid": 1 / (1 + torch.exp(-z / eps)),
    }
    torch.testing.assert_close(heaviside(z, eps, kind), expected[kind])


@pytest.mark.parametrize("kind", SMOOTH)
def test_dirac_is_the_derivative(kind):
    z = torch.linspace(-3, 3, 41, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(heaviside(z, 0.3, kind).sum(), z)
    torch.testing.assert_close(dirac(z.detach(), 0.3, kind), slope)


@pytest.mark.parametrize("kind", SMOOTH)
def test_gradients(kind):
    z = torch.randn(2, 3, dtype=torch.float64, requires_grad=True)
    eps = torch.tensor([[0.4], [1.2]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda z, e: heaviside(z, e, kind), (z, eps))
    assert torch.autograd.gradcheck(lambda z, e: dirac(z, e, kind), (z, eps))


@pytest.mark.parametrize("kind", [*SMOOTH, "step"])
def test_far_from_the_contour(kind):
    z = torch.tensor([-1e30, -1e4, 1e4, 1e30], requires_grad=True)
    value = heaviside(z, 0.1, kind)
    torch.testing.assert_close(value, torch.tensor([0.0, 0, 1, 1]), atol=1e-5, rtol=0)
    if kind != "step":
        value.sum().backward()
        assert z.grad.isfinite().all()
    assert dirac(z.detach(), 0.1, kind).isfinite().all()


def test_small_values_keep_their_precision():
    z = torch.tensor([-1e6])
    torch.testing.assert_close(heaviside(z), 1e-6 / torch.pi * torch.ones(1), rtol=1e-5, atol=0)


def test_step():
    z = torch.tensor([-1e-9, 0.0, 1.0])
    assert heaviside(z, kind="step").tolist() == [0, 1, 1]
    assert dirac(z, kind="step").tolist() == [0, 0, 0]


def test_bad_arguments_are_named():
    z = torch.zeros(1)
    with pytest.raises(ValueError, match="kind must be one of arctan.*'sin'"):
        heaviside(z, kind="sin")
    with pytest.raises(ValueError, match="eps must be positive, but is 0"):
        dirac(z, eps=0)
    with pytest.raises(TypeError, match="phi must be floating point.*int64"):
        heaviside(torch.zeros(1, dtype=torch.long))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (([0.0],), TypeError, "phi must be a tensor or a NumPy array, but is list"),
        ((torch.zeros(2, 3), float("nan")), ValueError, "eps must be positive, but is nan"),
        ((torch.zeros(2, 3), torch.ones(2)), ValueError, r"eps must broadcast .*\(2, 3\), but has"),
        ((torch.zeros(3), torch.ones(2, 3)), ValueError, "eps must broadcast"),
        ((torch.zeros(3), torch.ones(3).int()), TypeError, "eps must be floating point"),
        ((torch.zeros(3), torch.ones(3, device="meta")), ValueError, "phi on cpu, eps on meta"),
    ],
)
@pytest.mark.parametrize("function", [heaviside, dirac])
def test_bad_tensors_are_named(function, arguments, error, message):
    with pytest.raises(error, match=message):
        function(*arguments)


@pytest.mark.parametrize("eps", [MINIMUM_EPS, 1e-12, 1e-3, 1e15])
@pytest.mark.parametrize("kind", SMOOTH)
def test_gradients_at_the_ends_of_the_documented_range(kind, eps):
    z = torch.tensor([0.0, 1e-30, -1e-16, 1e-15, 1e-3, -1.0, 1e10, -1e30, 3e38])
    for function in (heaviside, dirac):
        leaves = [z.clone().requires_grad_(), torch.tensor(eps, requires_grad=True)]
        result = function(*leaves, kind)
        assert result.isfinite().all()
        for gradient in torch.autograd.grad(result.sum(), leaves):
            assert not gradient.isnan().any()
    with pytest.raises(ValueError, match=r"eps must lie in \[1e-15, 1e15\], but is"):
        heaviside(z, eps=1e-16 if eps < 1 else 1e16, kind=kind)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("kind", SMOOTH)
def test_half_precision_is_computed_in_float32(dtype, kind):
    z = torch.tensor([0.0, 1e-4, -1e-3, 0.5, -300.0, 6e4]).to(dtype)
    for function in (heaviside, dirac):
        for eps in (1e-4, 1e-2, 1.0):
            half, full = z.clone().requires_grad_(), z.float().requires_grad_()
            got, want = function(half, eps, kind), function(full, eps, kind)
            assert got.dtype == dtype
            torch.testing.assert_close(got, want.to(dtype))
            (slope,) = torch.autograd.grad(got.sum(), half)
            torch.testing.assert_close(slope, torch.autograd.grad(want.sum(), full)[0].to(dtype))


def test_arrays_give_arrays():
    z = np.linspace(-2, 2, 5)
    for function in (heaviside, dirac):
        got = function(z, 0.5)
        assert isinstance(got, np.ndarray) and got.dtype == np.float64
        np.testing.assert_array_equal(got, function(torch.from_numpy(z), 0.5).numpy())
    with pytest.raises(TypeError, match="eps must be a NumPy array as phi is, or both .* tensors"):
        heaviside(z, torch.ones(5))
    with pytest.raises(TypeError, match="phi must be an array without a mask"):
        heaviside(np.ma.masked_less(z, 0))
    with pytest.raises(TypeError, match="phi must hold real numbers, but is complex128"):
        heaviside(z * 1j)
