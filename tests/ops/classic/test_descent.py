import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from mmlevelset.ops.classic.descent import (
    CHECK_EVERY,
    descend,
    distance_energy,
    distance_force,
    divergence,
    gaussian_matrix,
    gradient,
    slope,
)
from tests.ops import naive

WELLS = {"double-well": naive.double_well, "single-well": naive.single_well}
SHAPES = [(1, 1), (1, 4), (2, 3), (7, 9)]


def level_sets(shape, scale=1.0):
    generator = torch.Generator().manual_seed(3)
    return scale * torch.randn(2, *shape, dtype=torch.float64, generator=generator)


@pytest.mark.parametrize("shape", SHAPES)
def test_divergence_is_minus_the_adjoint_of_the_gradient(shape):
    phi, x, y = level_sets(shape), level_sets(shape).exp(), level_sets(shape).sin()
    along_x, along_y = gradient(phi)
    for one, own_x, own_y in zip(phi, along_x, along_y, strict=True):
        for got, want in zip((own_x, own_y), naive.solver_gradient(one), strict=True):
            torch.testing.assert_close(got, want)
    inner = (along_x * x + along_y * y).sum((1, 2))
    torch.testing.assert_close(inner, -(phi * divergence(x, y)).sum((1, 2)))


@pytest.mark.parametrize("potential", WELLS)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("scale", [0.3, 1.0, 5.0])
def test_distance_force_is_minus_the_derivative_of_the_energy(shape, potential, scale):
    phi = level_sets(shape, scale).requires_grad_()
    energy = torch.stack([naive.solver_distance_energy(p, WELLS[potential]) for p in phi])
    (derivative,) = torch.autograd.grad(energy.sum(), phi)
    along_x, along_y = gradient(phi.detach())
    steepness = slope(along_x, along_y)
    force = distance_force(phi.detach(), along_x, along_y, steepness, potential)
    torch.testing.assert_close(force, -derivative)
    got = distance_energy(phi.detach(), steepness, potential)
    torch.testing.assert_close(got, energy.detach())


@pytest.mark.parametrize("potential", WELLS)
def test_wells_are_where_the_paper_has_them(potential):
    x = torch.arange(12.0, dtype=torch.float64)

    def force(steepness):
        phi = (steepness * x).expand(1, 12, 12)
        parts = gradient(phi)
        return distance_force(phi, *parts, slope(*parts), potential)[:, 2:-2, 2:-2]

    # A plane of any slope feels no force, whatever the potential.
    for steepness in (0.0, 0.5, 1.0, 2.0):
        assert force(steepness).abs().max() < 1e-9
    # A weak ripple on a flat level set is smoothed by the double well, and not by the single one.
    ripple = (0.1 * torch.sin(x)).expand(1, 12, 12)
    parts = gradient(ripple)
    pushed = ripple + 0.1 * distance_force(ripple, *parts, slope(*parts), potential)
    shrinks = pushed[..., 2:-2].std() < ripple[..., 2:-2].std()
    assert shrinks == (potential == "double-well")


@pytest.mark.parametrize("border", ["replicate", "zero"])
@pytest.mark.parametrize(("size", "sigma"), [(1, 1.5), (4, 3.0), (31, 1.5)])
def test_gaussian_matrix_is_scipys_filter(size, sigma, border):
    image = np.random.default_rng(0).standard_normal((5, size))
    mode = {"replicate": "nearest", "zero": "constant"}[border]
    want = gaussian_filter(image, (0, sigma), mode=mode, truncate=2.0)
    like = torch.zeros(1, dtype=torch.float64)
    matrix = gaussian_matrix(size, sigma, 2.0, border, like)
    np.testing.assert_allclose(image @ matrix.numpy().T, want, rtol=1e-12, atol=1e-14)


def test_each_image_stops_by_itself():
    # Three contours sweep 1, 0.1 and 0 of 100 pixels per iteration, for 25 iterations.
    speed = torch.tensor([1.0, 0.1, 0.0], dtype=torch.float64)
    clock = torch.zeros(3, 10, 10, dtype=torch.float64)

    def step(phi):
        nonlocal clock
        clock = clock + 1
        row = torch.where(clock <= 25, 2 * speed[:, None, None] / 100, 0.0)
        return phi + row

    phi, energies = descend(
        torch.zeros(3, 10, 10, dtype=torch.float64), step, lambda p: p.sum((1, 2)), 1.5e-3, 100
    )
    # The second contour is below the tolerance at once, the first when it has come to rest.
    assert [len(e) for e in energies] == [40, CHECK_EVERY, CHECK_EVERY]
    torch.testing.assert_close(phi[:, 0, 0], torch.tensor([0.5, 0.02, 0.0], dtype=phi.dtype))
    np.testing.assert_allclose(energies[1], 0.2 * np.arange(10))


def test_no_iterations():
    start = torch.randn(2, 4, 5)
    phi, energies = descend(start, lambda p: p + 1, lambda p: p.sum((1, 2)), 0.0, 0)
    assert torch.equal(phi, start)
    assert energies == [[], []]


def test_looks_at_the_tolerance_only_now_and_then(monkeypatch):
    looks = []
    truth = torch.Tensor.__bool__
    monkeypatch.setattr(torch.Tensor, "__bool__", lambda t: looks.append(1) or truth(t))
    descend(torch.zeros(2, 4, 4), lambda p: p + 0.05, None, 0.0, 35)
    assert len(looks) == 35 // CHECK_EVERY
