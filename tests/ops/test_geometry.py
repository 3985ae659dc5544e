import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import distance_transform_edt

from mmlevelset.ops import contour_length, curvature, signed_distance
from tests.ops import naive


def disk(size, radius, dtype=torch.float64):
    y, x = torch.meshgrid(*2 * [torch.arange(size, dtype=dtype)], indexing="ij")
    return radius - torch.hypot(x - (size - 1) / 2, y - (size - 1) / 2)


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (2, 3), (7, 9), (16, 5)])
@pytest.mark.parametrize("eta", [1e-2, 1e-4, 1e-8])
def test_curvature_is_the_definition(shape, eta):
    phi = torch.randn(3, *shape, dtype=torch.float64)
    expected = torch.stack([naive.curvature(p, eta) for p in phi])
    torch.testing.assert_close(curvature(phi, eta), expected)


def test_curvature_of_known_shapes():
    circle = curvature(disk(41, 12.0)[None])[0]
    on_contour = disk(41, 12.0).abs() < 0.5
    torch.testing.assert_close(circle[on_contour].mean().item(), -1 / 12, rtol=0.01, atol=0)
    y, x = torch.meshgrid(*2 * [torch.arange(9, dtype=torch.float64)], indexing="ij")
    plane = curvature((0.3 * x - 0.2 * y + 1)[None])[0]
    assert plane[2:-2, 2:-2].abs().max() < 1e-12


def test_curvature_gradient():
    phi = torch.randn(2, 5, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(curvature, phi)


def test_curvature_of_a_flat_level_set_has_a_bounded_gradient():
    phi = torch.ones(1, 8, 8, requires_grad=True)
    (gradient,) = torch.autograd.grad(curvature(phi).square().sum() + curvature(phi).sum(), phi)
    assert gradient.isfinite().all() and gradient.abs().max() < 200


def test_contour_length_of_a_rectangle():
    inside = torch.zeros(2, 9, 8)
    inside[0, 2:6, 3:7] = 1
    assert contour_length(inside).tolist() == [16, 0]
    corners = 4 * 4 - 2 + math.sqrt(2)  # the lower right pixel has both differences
    torch.testing.assert_close(contour_length(inside, isotropic=True), torch.tensor([corners, 0.0]))


@pytest.mark.parametrize("shape", [(1, 1), (1, 4), (5, 3)])
def test_contour_length_is_the_definition(shape):
    inside = torch.rand(2, *shape, dtype=torch.float64)
    expected = torch.stack([naive.length(one) for one in inside])
    torch.testing.assert_close(contour_length(inside), expected)


@pytest.mark.parametrize("isotropic", [False, True])
def test_contour_length_gradient(isotropic):
    inside = torch.rand(2, 4, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: contour_length(x, isotropic), inside)


def test_isotropic_length_of_a_circle():
    inside = torch.sigmoid(disk(81, 25.0))[None]
    torch.testing.assert_close(
        contour_length(inside, isotropic=True)[0].item(), 2 * math.pi * 25, rtol=0.02, atol=0
    )


@pytest.mark.parametrize("isotropic", [False, True])
def test_contour_length_gradient_is_finite_where_flat(isotropic):
    inside = torch.zeros(1, 5, 5)
    inside[0, 2, 2] = 0.5
    inside.requires_grad_()
    contour_length(inside, isotropic).sum().backward()
    assert inside.grad.isfinite().all() and inside.grad.abs().sum() > 0


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 13), st.integers(1, 13), st.floats(0.05, 0.95), st.integers(0, 10**6))
def test_signed_distance_is_exact(height, width, share, seed):
    mask = torch.rand(2, height, width, generator=torch.Generator().manual_seed(seed)) < share
    distance = signed_distance(mask)
    truncated = signed_distance(mask, 2.5)
    for one, result, cut in zip(mask.numpy(), distance.numpy(), truncated.numpy(), strict=True):
        if one.all() or not one.any():
            expected = np.where(one, 1, -1) * np.hypot(height, width)
        else:
            inside, outside = distance_transform_edt(one), distance_transform_edt(~one)
            expected = np.where(one, inside - 0.5, 0.5 - outside)
        np.testing.assert_allclose(result, expected, rtol=1e-6)
        if not one.all() and one.any():
            np.testing.assert_allclose(cut, (expected / 2.5).clip(-1, 1), rtol=1e-6)
        else:
            assert (cut == np.where(one, 1, -1)).all()


def test_signed_distance_beside_the_boundary():
    mask = torch.zeros(1, 3, 6, dtype=torch.bool)
    mask[..., 3:] = True
    assert signed_distance(mask)[0, 1].tolist() == [-2.5, -1.5, -0.5, 0.5, 1.5, 2.5]
    assert signed_distance(mask, truncation=2)[0, 1].tolist() == [-1, -0.75, -0.25, 0.25, 0.75, 1]


def test_non_contiguous_and_empty_input():
    mask = torch.rand(5, 4, 2) > 0.5
    torch.testing.assert_close(
        signed_distance(mask.permute(2, 0, 1)), signed_distance(mask.permute(2, 0, 1).contiguous())
    )
    phi = torch.randn(5, 4, 2)
    torch.testing.assert_close(
        curvature(phi.permute(2, 0, 1)), curvature(phi.permute(2, 0, 1).contiguous())
    )
    assert curvature(torch.zeros(0, 4, 4)).shape == (0, 4, 4)
    assert signed_distance(torch.zeros(0, 4, 4, dtype=torch.bool)).shape == (0, 4, 4)
    assert contour_length(torch.zeros(0, 4, 4)).shape == (0,)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: curvature(torch.zeros(3, 3)), ValueError, r"phi must have shape \(M, H, W\)"),
        (lambda: curvature(torch.zeros(1, 3, 3), eta=0), ValueError, "eta must be positive"),
        (lambda: curvature(torch.zeros(1, 3, 3).int()), TypeError, "phi must be floating point"),
        (lambda: contour_length(torch.zeros(3)), ValueError, "inside must have shape"),
        (lambda: signed_distance(torch.zeros(1, 3, 3)), TypeError, "mask must be bool"),
        (lambda: signed_distance(torch.zeros(1, 3, 3) > 0, -1.0), ValueError, "truncation"),
        (lambda: curvature([[1.0]]), TypeError, "phi must be a tensor, but is list"),
    ],
)
def test_bad_input_is_named(call, error, message):
    with pytest.raises(error, match=message):
        call()
