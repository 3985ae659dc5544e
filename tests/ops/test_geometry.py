import itertools
import math
import time

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.ndimage import distance_transform_edt

from mmlevelset.ops import (
    contour_length,
    curvature,
    distance,
    distance_torch,
    geometry,
    signed_distance,
)
from mmlevelset.ops.geometry import MINIMUM_ETA
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


@pytest.mark.parametrize("eta", [MINIMUM_ETA, 1e-8, 1e-4])
@pytest.mark.parametrize("shape", [(1, 1), (1, 6), (6, 5)])
def test_gradient_of_a_flat_level_set_at_the_smallest_eta(eta, shape):
    """It is 0 by symmetry at the border pixels' copies, and at most eta ** -0.5 elsewhere."""
    for value in (0.0, 1.0, -3e30):
        phi = torch.full((1, *shape), value, requires_grad=True)
        curvature(phi, eta).sum().backward()
        assert phi.grad.isfinite().all() and phi.grad.abs().max() <= 20 * eta**-0.5


@pytest.mark.parametrize("scale", [1e-15, 1e10, 1e25, 1e37])
def test_curvature_does_not_depend_on_the_scale(scale):
    phi = torch.randn(2, 9, 8, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(
        curvature(phi * scale, 1e-20 if scale > 1 else 1e-38 * 1e18),
        curvature(phi.double() * scale, 1e-20).float(),
        rtol=1e-4,
        atol=1e-4,
    )


def naive_volume_curvature(phi, eta, spacing):
    """Pixel by pixel over the 27 weights of each derivative."""
    index = [torch.arange(-2, n + 2).clamp(0, n - 1) for n in phi.shape]
    padded = phi[index[0]][:, index[1]][:, :, index[2]]

    def derivative(maps, along):
        total = 0
        shape = [n - 2 for n in maps.shape]
        for offsets in itertools.product((0, 1, 2), repeat=3):
            weight = 1.0
            for axis, offset in enumerate(offsets):
                weight *= (
                    (offset - 1) / (2 * spacing[axis]) if axis == along else (1, 2, 1)[offset] / 4
                )
            part = maps[tuple(slice(o, o + n) for o, n in zip(offsets, shape, strict=True))]
            total = total + weight * part
        return total

    slopes = [derivative(padded, k) for k in range(3)]
    norm = torch.sqrt(sum(slope**2 for slope in slopes) + eta)
    return sum(derivative(slope / norm, k) for k, slope in enumerate(slopes))


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 4, 3), (5, 3, 4)])
@pytest.mark.parametrize("grad", [False, True])
def test_curvature_of_volumes_is_the_definition(shape, grad):
    phi = torch.randn(2, *shape, dtype=torch.float64, requires_grad=grad)
    spacing = (2.5, 1.0, 0.7)
    expected = torch.stack([naive_volume_curvature(p, 1e-4, spacing) for p in phi])
    torch.testing.assert_close(curvature(phi, spacing=spacing), expected)
    if grad:
        weight = torch.randn_like(phi)
        (want,) = torch.autograd.grad((expected * weight).sum(), phi)
        (got,) = torch.autograd.grad((curvature(phi, spacing=spacing) * weight).sum(), phi)
        torch.testing.assert_close(got, want)
        by_hand = geometry.curvature_adjoint(phi.detach(), weight, 1e-4, spacing)
        torch.testing.assert_close(by_hand, want)


def test_curvature_of_a_sphere_in_millimetres():
    spacing = (2.0, 1.0, 1.0)
    z, y, x = torch.meshgrid(
        *[(torch.arange(n) - (n - 1) / 2) * s for n, s in zip((31, 61, 61), spacing, strict=True)],
        indexing="ij",
    )
    phi = 20.0 - torch.sqrt(z**2 + y**2 + x**2)
    near = phi.abs() < 0.5
    assert curvature(phi, spacing=spacing)[near].mean().item() == pytest.approx(-2 / 20, rel=0.02)


def test_images_with_wide_pixels():
    phi = torch.randn(3, 6, 5, dtype=torch.float64)
    torch.testing.assert_close(curvature(phi, 1e-4, spacing=(1, 1)), curvature(phi, 1e-4))
    torch.testing.assert_close(curvature(phi, 1e-4 / 4, spacing=(2, 2)), curvature(phi, 1e-4) / 2)


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


def scipy_distance(mask):
    diagonal = np.hypot(*mask.shape)
    if mask.all() or not mask.any():
        return np.where(mask, diagonal, -diagonal)
    return np.where(mask, distance_transform_edt(mask) - 0.5, 0.5 - distance_transform_edt(~mask))


def assert_signed_distance(masks, truncation=None):
    got = signed_distance(masks, truncation)
    assert got.dtype == torch.float32
    for mask, result in zip(masks.numpy(), got.numpy(), strict=True):
        expected = scipy_distance(mask)
        if truncation is not None and (mask.all() or not mask.any()):
            expected = np.where(mask, 1, -1)
        elif truncation is not None:
            expected = (expected / truncation).clip(-1, 1)
        np.testing.assert_allclose(result, expected, rtol=1e-6)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(st.integers(1, 13), st.integers(1, 13), st.floats(0.0, 1.0), st.integers(0, 10**6))
def test_signed_distance_is_exact(height, width, share, seed):
    masks = torch.rand(2, height, width, generator=torch.Generator().manual_seed(seed)) < share
    for truncation in (None, 0.25, 1.0, 2.5, 4.0, 100.0):
        assert_signed_distance(masks, truncation)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(st.integers(1, 8), st.integers(1, 8), st.floats(0.05, 0.95), st.integers(0, 10**6))
def test_signed_distance_is_that_to_the_nearest_pixel_of_the_other_side(height, width, share, seed):
    mask = torch.rand(height, width, generator=torch.Generator().manual_seed(seed)) < share
    assume(mask.any() and not mask.all())
    pixels = torch.cartesian_prod(torch.arange(height), torch.arange(width)).float()
    own = mask.flatten()
    apart = torch.cdist(pixels, pixels).masked_fill(own[:, None] == own, math.inf)
    expected = torch.where(own, 1, -1) * (apart.amin(1) - 0.5)
    torch.testing.assert_close(signed_distance(mask[None])[0].flatten(), expected)


@pytest.mark.parametrize("shape", [(3, 170, 90), (3, 30, 250), (3, 250, 30), (2, 1, 300)])
@pytest.mark.parametrize("truncation", [None, 16.0, 140.0])
def test_signed_distance_is_exact_beyond_16_bits(shape, truncation):
    """Single pixels in a corner, so that some are farther than 126 pixels."""
    masks = torch.zeros(shape, dtype=torch.bool)
    masks[0, 0, 0] = True
    masks[1] = True
    masks[1, -1, -1] = False
    masks[2:, :, ::7] = True
    assert_signed_distance(masks, truncation)


@pytest.mark.parametrize("pixels", [1, 50, 140])
def test_signed_distance_does_not_depend_on_the_rest_of_the_batch(monkeypatch, pixels):
    masks = torch.rand(5, 9, 7, generator=torch.Generator().manual_seed(1)) < 0.9
    masks[2], masks[3] = True, False
    expected = signed_distance(masks)
    monkeypatch.setattr(distance_torch, "_PIXELS_ON_CPU", pixels)
    assert torch.equal(signed_distance(masks), expected)
    assert torch.equal(torch.cat([signed_distance(mask[None]) for mask in masks]), expected)


@pytest.mark.parametrize("spacing", [(1, 1), (0.5, 2), (3, 1, 1), (2.5, 0.7, 1.1), (1, 1, 1)])
@pytest.mark.parametrize("compiled", [True, False])
def test_signed_distance_in_physical_units_is_scipys(monkeypatch, spacing, compiled):
    if not compiled:
        monkeypatch.setattr(distance, "_compiled", lambda: None)
    generator = torch.Generator().manual_seed(3)
    shape = (9, 8, 7)[: len(spacing)]
    masks = torch.rand(4, *shape, generator=generator) < torch.tensor([0.02, 0.5, 0.97, 2.0]).view(
        4, *[1] * len(spacing)
    )
    half = min(spacing) / 2
    for truncation in (None, 1.5, 4.0):
        got = signed_distance(masks, truncation, spacing=spacing)
        for mask, result in zip(masks.numpy(), got.numpy(), strict=True):
            inner, outer = (
                distance_transform_edt(side, sampling=spacing) - half for side in (mask, ~mask)
            )
            want = np.where(mask, inner, -outer)
            if mask.all():
                want = np.full(shape, np.hypot.reduce(np.multiply(spacing, shape)))
            if truncation is not None:
                want = (want / truncation).clip(-1, 1)
            np.testing.assert_allclose(result, want, rtol=1e-6)
    assert torch.equal(
        signed_distance(masks[1], spacing=spacing), signed_distance(masks, spacing=spacing)[1]
    )


def test_one_pixel_in_a_large_image_takes_the_time_of_few_pixels():
    """Linear in the pixels: a far pixel costs no more than a near one (it did, as side^2.7)."""
    near = torch.rand(1, 1024, 1024, generator=torch.Generator().manual_seed(0)) < 0.5
    far = torch.zeros_like(near)
    far[0, 3, 5] = True
    times = []
    for mask in (near, far):
        signed_distance(mask)
        started = time.perf_counter()
        for _ in range(3):
            signed_distance(mask)
        times.append(time.perf_counter() - started)
    assert times[1] < 3 * times[0]


@pytest.mark.gpu
@pytest.mark.parametrize("shape", [(256, 112, 112), (3, 7, 5), (2, 170, 90)])
@pytest.mark.parametrize("truncation", [None, 16.0])
def test_signed_distance_on_gpu_is_that_on_cpu(shape, truncation):
    masks = torch.rand(shape, generator=torch.Generator().manual_seed(0)) < 0.99
    expected = signed_distance(masks, truncation)
    masks = masks.cuda()
    torch.cuda.set_sync_debug_mode("error")
    try:
        got = signed_distance(masks, truncation)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    torch.testing.assert_close(got.cpu(), expected, rtol=1e-6, atol=0)


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


flat = torch.zeros(1, 3, 3, dtype=torch.bool)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: curvature(torch.zeros(3)), ValueError, r"phi must have shape \(..., H, W\)"),
        (lambda: curvature(torch.zeros(1, 3, 3), eta=0), ValueError, "eta must be at least"),
        (lambda: curvature(torch.zeros(1, 3, 3).int()), TypeError, "phi must be floating point"),
        (lambda: contour_length(torch.zeros(3)), ValueError, "inside must have shape"),
        (lambda: signed_distance(torch.zeros(1, 3, 3)), TypeError, "mask must be bool"),
        (lambda: signed_distance(torch.zeros(3) > 0), ValueError, "mask must have shape"),
        (
            lambda: signed_distance([[True]]),
            TypeError,
            "mask must be a tensor or a NumPy array, but is list",
        ),
        (lambda: signed_distance(flat, -1.0), ValueError, "truncation must be positive .* -1.0"),
        (lambda: signed_distance(flat, 0), ValueError, "truncation must be positive"),
        (lambda: signed_distance(flat, math.inf), ValueError, "truncation must be .* finite"),
        (lambda: signed_distance(flat, math.nan), ValueError, "truncation must be positive"),
        (lambda: curvature(torch.zeros(1, 3, 3), eta=math.nan), ValueError, "eta must be at least"),
        (lambda: contour_length(torch.zeros(1, 3, 3) > 0), TypeError, "inside must be floating"),
        (lambda: contour_length(None), TypeError, "inside must be a tensor or .*, but is NoneType"),
        (lambda: curvature([[1.0]]), TypeError, "phi must be a tensor or .*, but is list"),
    ],
)
def test_bad_input_is_named(call, error, message):
    with pytest.raises(error, match=message):
        call()


@pytest.mark.parametrize("shape", [(2, 128, 128), (3, 200, 160), (2, 2, 300)])
@pytest.mark.parametrize("truncation", [None, 16.0, 200.0])
def test_signed_distance_of_large_masks_with_near_contours(shape, truncation):
    masks = torch.rand(shape, generator=torch.Generator().manual_seed(0)) < 0.5
    assert_signed_distance(masks, truncation)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype):
    torch.manual_seed(0)
    inside = torch.rand(1, 400, 400).to(dtype)
    length = contour_length(inside)
    torch.testing.assert_close(length, contour_length(inside.float()), rtol=1e-6, atol=0)
    phi = (50 * torch.randn(1, 9, 9)).to(dtype)
    torch.testing.assert_close(curvature(phi), curvature(phi.float()))
