import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from mmlevelset.ops import drlse
from mmlevelset.ops.classic.distance_regularized import edge_indicator, force, total_energy
from tests.ops import naive
from tests.ops.classic.pictures import overlap

WELLS = {"double-well": naive.double_well, "single-well": naive.single_well}


def picture(size=50, radius=15, dtype=float):
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    disc = y**2 + x**2 < radius**2
    return disc, (0.2 + 0.5 * disc).astype(dtype)


def radius(mask):
    return np.sqrt(mask.sum() / np.pi)


def smooth_level_set(size):
    """A wavy level set with the same shape at every resolution, in units of pixels."""
    t = (torch.arange(size, dtype=torch.float64) + 0.5) / size
    y, x = t[:, None], t
    phi = 0.25 - torch.hypot(x - 0.48, y - 0.52) + 0.03 * torch.sin(7 * x) * torch.cos(5 * y)
    return size * phi


def total(phi, indicator, mu, lambda_, alpha, epsilon, potential):
    length = (indicator * naive.cosine_delta(phi, epsilon) * naive.solver_slope(phi)).sum()
    area = (indicator * naive.sine_heaviside(phi, epsilon)).sum()
    distance = naive.solver_distance_energy(phi, WELLS[potential])
    return mu * distance + lambda_ * length + alpha * area


@pytest.mark.parametrize("potential", WELLS)
@pytest.mark.parametrize("lambda_", [0.0, 5.0])
def test_force_and_energy_are_the_definition(potential, lambda_):
    generator = torch.Generator().manual_seed(1)
    phi = 2 * torch.randn(2, 7, 9, dtype=torch.float64, generator=generator)
    indicator = torch.rand(2, 7, 9, dtype=torch.float64, generator=generator)
    options = (0.04, lambda_, -1.5, 1.5, potential)
    energies = total_energy(phi, indicator, *options)
    forces = force(phi, indicator, *options)
    for m in range(2):
        one = phi[m].clone().requires_grad_()
        torch.testing.assert_close(energies[m], total(one, indicator[m], *options).detach())
        # The length's derivative is the functional one, the other terms' derivatives are exact.
        rest = total(one, indicator[m], 0.04, 0.0, -1.5, 1.5, potential)
        (derivative,) = torch.autograd.grad(rest, one)
        length = naive.cosine_delta(phi[m], 1.5) * naive.solver_length_force(phi[m], indicator[m])
        torch.testing.assert_close(forces[m], lambda_ * length - derivative)


def test_length_force_becomes_the_derivative_on_fine_grids():
    errors = []
    for size in (64, 128, 256):
        phi = smooth_level_set(size).requires_grad_()
        t = torch.linspace(0, 3, size, dtype=torch.float64)
        indicator = 0.6 + 0.3 * torch.sin(t)[:, None] * torch.cos(t)
        options = (0.0, 1.0, 0.0, 0.12 * size, "double-well")
        (derivative,) = torch.autograd.grad(total(phi, indicator, *options), phi)
        got = force(phi.detach()[None], indicator[None], *options)[0]
        errors.append(((got + derivative).norm() / derivative.norm()).item())
    assert errors[1] < errors[0] / 2.8 and errors[2] < errors[1] / 2.8
    assert errors[2] < 0.02


def test_edge_indicator_is_scipys():
    image = 255 * np.random.default_rng(0).random((2, 11, 14))
    smooth = [gaussian_filter(c, 1.5, mode="nearest") for c in image]
    slopes = [naive.solver_gradient(torch.tensor(c)) for c in smooth]
    squares = torch.stack([gx**2 + gy**2 for gx, gy in slopes]).mean(0)
    got = edge_indicator(torch.tensor(image)[None], 1.5)[0]
    torch.testing.assert_close(got, 1 / (1 + squares))


@pytest.mark.parametrize(("alpha", "start"), [(1.5, 14.0), (0.0, 12.0), (-1.5, 6.0)])
def test_energy_falls(alpha, start):
    _, image = picture(40, 10)
    y, x = np.mgrid[:40, :40] - 19.5
    distance = start - np.hypot(y, x)
    _, _, energies = drlse(
        image, alpha=alpha, dt=1, init_level_set=distance, max_num_iter=200, extended_output=True
    )
    assert len(energies) > 50
    assert (np.diff(energies) < 0).all()


def test_a_step_is_dt_times_the_force():
    _, image = picture(20, 6)
    start = np.random.default_rng(0).standard_normal((20, 20))
    options = dict(init_level_set=start, max_num_iter=1, extended_output=True)
    _, one, _ = drlse(image, dt=1.0, **options)
    _, two, _ = drlse(image, dt=2.0, **options)
    np.testing.assert_allclose(two - start, 2 * (one - start), atol=1e-12)


@pytest.mark.parametrize("polarity", [1, -1])
def test_finds_a_disc_from_outside_and_from_inside(polarity):
    disc, image = picture()
    image = polarity * image
    assert overlap(drlse(image, sigma=0.8), disc) > 0.97
    grown = drlse(image, sigma=0.8, alpha=-1.5, init_level_set="small disk")
    assert overlap(grown, disc) > 0.95


def test_the_wider_the_edge_the_further_the_length_draws_the_contour_in():
    disc, image = picture()
    radii = [radius(drlse(image, sigma=sigma)) for sigma in (0.8, 1.5, 2.5)]
    assert radius(disc) >= radii[0] > radii[1] > radii[2] > 12


def test_stays_a_distance_beside_the_contour_and_flat_elsewhere():
    disc, image = picture(70, 20)
    mask, phi, _ = drlse(image, sigma=0.8, extended_output=True, max_num_iter=400, tol=0)
    assert overlap(mask, disc) > 0.97
    slopes = np.hypot(*np.gradient(phi))
    y, x = np.mgrid[:70, :70] - 34.5
    away = np.abs(np.hypot(x, y) - 20)
    assert slopes[away < 1].mean() == pytest.approx(1, abs=0.1)
    assert slopes[away > 8].max() < 0.05
    assert np.abs(phi).max() < 4


def test_two_discs_are_separated():
    y, x = np.mgrid[:50, :90]
    discs = (y - 25) ** 2 + (x - 25) ** 2 < 14**2, (y - 25) ** 2 + (x - 65) ** 2 < 14**2
    mask = drlse((discs[0] | discs[1]).astype(float), sigma=0.8)
    assert overlap(mask, discs[0] | discs[1]) > 0.97
    assert not mask[:, 45].any()


def test_without_edges_alpha_decides():
    blank = np.zeros((30, 30))
    start = np.zeros((30, 30), bool)
    start[8:22, 8:22] = True
    areas = [
        drlse(blank, alpha=alpha, init_level_set=start, max_num_iter=15, tol=0).sum()
        for alpha in (1.5, 0, -1.5)
    ]
    assert areas[0] < areas[1] < start.sum() < areas[2]


def test_single_well_makes_a_distance_everywhere():
    _, image = picture(40, 12)
    _, phi, _ = drlse(image, potential="single-well", max_num_iter=300, tol=0, extended_output=True)
    slopes = np.hypot(*np.gradient(phi))
    assert np.median(slopes) == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (dict(lambda_=-1.0), ValueError, "lambda_ must be non-negative"),
        (dict(alpha=float("inf")), ValueError, "alpha must be finite, but is inf"),
        (dict(alpha="out"), TypeError, "alpha must be a number, but is str"),
        (dict(sigma=0.0), ValueError, "sigma must be positive"),
        (dict(potential="triple"), ValueError, "potential must be 'double-well' or 'single-well'"),
    ],
)
def test_bad_input_is_named(change, error, message):
    with pytest.raises(error, match=message):
        drlse(np.zeros((9, 8)), **change)
