import numpy as np
import pytest
import torch

from mmlevelset.ops import legendre_level_set
from mmlevelset.ops.classic.legendre import legendre_polynomials
from tests.ops import naive


def picture(bias=0.0, size=64, radius=16, noise=0.02):
    """A disc on a ground that grows brighter to the right by ``bias`` times the disc's contrast."""
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    disc = y**2 + x**2 < radius**2
    random = np.random.default_rng(0).standard_normal(disc.shape)
    return disc, disc + bias * x / size + noise * random


def overlap(one, other):
    return (one & other).sum() / (one | other).sum()


def naive_energy(phi, images, order, nu, mu, lambda1, lambda2, epsilon):
    fit = [
        naive.polynomial_fitting_energy(phi, one, order, lambda1, lambda2, epsilon)
        for one in images
    ]
    delta = naive.printed_delta(phi, epsilon) / epsilon
    length = (delta * naive.solver_slope(phi)).sum()
    distance = naive.solver_distance_energy(phi, naive.single_well)
    return torch.stack(fit).mean() + nu * length + mu * distance


@pytest.mark.parametrize("size", [1, 2, 17])
def test_polynomials_are_torchs(size):
    like = torch.zeros(1, dtype=torch.float64)
    x = (torch.arange(size, dtype=torch.float64) + 0.5) * 2 / size - 1
    for order in (0, 1, 5):
        got = legendre_polynomials(size, order, like)
        assert got.shape == (order + 1, size)
        for n, row in enumerate(got):
            torch.testing.assert_close(row, torch.special.legendre_polynomial_p(x, n))


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("order", [0, 1, 3])
@pytest.mark.parametrize("nu", [0.0, 65.0])
def test_force_and_energy_are_the_definition(channels, order, nu):
    random = np.random.default_rng(5)
    image = random.random((channels, 8, 7))
    scaled = torch.tensor(255 * (image - image.min()) / (image.max() - image.min()))
    start = torch.tensor(2 * random.standard_normal((8, 7)))
    options = dict(order=order, mu=0.7, nu=nu, lambda1=0.5, lambda2=2.0, epsilon=1.3)
    _, phi, energies = legendre_level_set(
        image,
        **options,
        dt=1e-3,
        init_level_set=start,
        max_num_iter=1,
        extended_output=True,
    )
    start.requires_grad_()
    want = naive_energy(start, scaled, **options)
    assert energies[0] == pytest.approx(want.item(), rel=1e-10)
    # The length's derivative is the functional one, the others are exact.
    rest = naive_energy(start, scaled, **(options | dict(nu=0.0)))
    (derivative,) = torch.autograd.grad(rest, start)
    start = start.detach()
    delta = naive.printed_delta(start, 1.3) / 1.3
    length = nu * delta * naive.solver_length_force(start, torch.ones_like(start))
    moved = torch.tensor(phi) - start
    torch.testing.assert_close(moved / 1e-3, length - derivative, rtol=1e-6, atol=1e-6)


def test_energy_falls():
    _, image = picture(bias=1.0, size=40, radius=10)
    _, _, energies = legendre_level_set(
        image, dt=2e-3, max_num_iter=150, tol=0, extended_output=True
    )
    assert (np.diff(energies) < 0).all()


@pytest.mark.parametrize("bias", [0.0, 1.0, 2.0, 4.0])
@pytest.mark.parametrize("init", ["box", "disk", "small disk", "checkerboard"])
def test_finds_a_disc_in_uneven_light_from_any_start(bias, init):
    disc, image = picture(bias)
    mask = legendre_level_set(image, init_level_set=init)
    assert max(overlap(mask, disc), overlap(~mask, disc)) > 0.97


def test_order_zero_is_two_constants_and_fails_there():
    disc, image = picture(4.0)
    mask = legendre_level_set(image, order=0)
    assert overlap(mask, disc) < 0.5
    low, high = image[mask].mean(), image[~mask].mean()
    assert overlap(mask, np.abs(image - low) < np.abs(image - high)) > 0.95


def test_curved_light_needs_a_higher_order():
    disc, image = picture()
    y, x = np.mgrid[:64, :64] / 31.5 - 1
    image = image + 3 * (x**2 - y**2)
    assert overlap(legendre_level_set(image, order=2), disc) > 0.97
    assert overlap(legendre_level_set(image, order=1), disc) < 0.7


def test_exchanging_inside_and_outside():
    _, image = picture(1.0, size=40, radius=10)
    start = np.random.default_rng(0).standard_normal((40, 40))
    options = dict(max_num_iter=10, extended_output=True)
    _, one, _ = legendre_level_set(image, init_level_set=start, lambda1=1.0, lambda2=9.0, **options)
    _, two, _ = legendre_level_set(
        image, init_level_set=-start, lambda1=9.0, lambda2=1.0, **options
    )
    np.testing.assert_allclose(one, -two, rtol=1e-6, atol=1e-6)


def test_single_precision_is_close_to_double():
    _, image = picture(1.0)
    options = dict(order=3, extended_output=True, max_num_iter=20, tol=0)
    mask, phi, _ = legendre_level_set(image, **options)
    single, rough, _ = legendre_level_set(image.astype(np.float32), **options)
    assert overlap(mask, single) > 0.99
    assert np.abs(phi - rough).mean() < 0.01 * np.abs(phi).mean()


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (dict(order=-1), ValueError, "order must be non-negative, but is -1"),
        (dict(order=1.0), TypeError, "order must be an integer, but is float"),
        (dict(nu=-1.0), ValueError, "nu must be non-negative"),
        (dict(lambda1=0.0), ValueError, "lambda1 must be positive"),
        (dict(lambda2=-1.0), ValueError, "lambda2 must be positive"),
    ],
)
def test_bad_input_is_named(change, error, message):
    with pytest.raises(error, match=message):
        legendre_level_set(np.zeros((9, 8)), **change)
