import numpy as np
import pytest
import torch

from mmlevelset.ops import region_scalable_fitting
from tests.ops import naive


def picture(bias=0.0, size=64, radius=16, noise=0.02):
    """A disc on a ground that grows brighter to the right by ``bias`` times the disc's contrast."""
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    disc = y**2 + x**2 < radius**2
    random = np.random.default_rng(0).standard_normal(disc.shape)
    return disc, disc + bias * x / size + noise * random


def overlap(one, other):
    return (one & other).sum() / (one | other).sum()


def small_case(channels=1):
    random = np.random.default_rng(5)
    image = random.random((channels, 8, 7))
    scaled = 255 * (image - image.min()) / (image.max() - image.min())
    return image, torch.tensor(scaled), torch.tensor(2 * random.standard_normal((8, 7)))


def naive_energy(phi, images, nu, mu, sigma, radius, lambda1, lambda2, epsilon):
    fit = [
        naive.local_fitting_energy(phi, one, sigma, radius, lambda1, lambda2, epsilon)
        for one in images
    ]
    delta = naive.printed_delta(phi, epsilon) / epsilon
    length = (delta * naive.solver_slope(phi)).sum()
    distance = naive.solver_distance_energy(phi, naive.single_well)
    return torch.stack(fit).mean() + nu * length + mu * distance


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize(("sigma", "radius"), [(1.2, 2), (3.0, 6)])
@pytest.mark.parametrize("nu", [0.0, 65.0])
def test_force_and_energy_are_the_definition(channels, sigma, radius, nu):
    image, scaled, start = small_case(channels)
    options = dict(mu=0.7, nu=nu, lambda1=1.0, lambda2=1.5, epsilon=1.3, sigma=sigma)
    _, phi, energies = region_scalable_fitting(
        image,
        **options,
        dt=1e-3,
        init_level_set=start,
        max_num_iter=1,
        extended_output=True,
    )
    start.requires_grad_()
    want = naive_energy(start, scaled, radius=radius, **options)
    assert energies[0] == pytest.approx(want.item(), rel=1e-10)
    # The length's derivative is the functional one, the others are exact.
    rest = naive_energy(start, scaled, radius=radius, **(options | dict(nu=0.0)))
    (derivative,) = torch.autograd.grad(rest, start)
    start = start.detach()
    delta = naive.printed_delta(start, 1.3) / 1.3
    length = nu * delta * naive.solver_length_force(start, torch.ones_like(start))
    moved = torch.tensor(phi) - start
    torch.testing.assert_close(moved / 1e-3, length - derivative, rtol=1e-6, atol=1e-6)


def test_energy_falls():
    _, image = picture(bias=1.0, size=40, radius=10)
    _, _, energies = region_scalable_fitting(
        image, dt=2e-3, max_num_iter=150, tol=0, extended_output=True
    )
    assert (np.diff(energies) < 0).all()


@pytest.mark.parametrize("bias", [0.0, 1.0, 2.0])
def test_finds_a_disc_in_uneven_light(bias):
    disc, image = picture(bias)
    assert overlap(region_scalable_fitting(image), disc) > 0.97
    if bias == 2:
        # No threshold does, so no two constants can.
        thresholds = np.quantile(image, np.linspace(0.01, 0.99, 99))
        assert max(overlap(image > t, disc) for t in thresholds) < 0.8


def test_windows_as_large_as_the_image_are_two_constants():
    disc, image = picture(2.0)
    mask = region_scalable_fitting(image, sigma=100.0)
    assert overlap(mask, disc) < 0.8
    low, high = image[mask].mean(), image[~mask].mean()
    assert overlap(mask, np.abs(image - low) < np.abs(image - high)) > 0.95


def test_a_wider_window_depends_less_on_the_start():
    disc, image = picture(1.0)

    def best(sigma, start):
        mask = region_scalable_fitting(image, sigma=sigma, init_level_set=start)
        return max(overlap(mask, disc), overlap(~mask, disc))

    starts = ("box", "disk", "small disk", "checkerboard")
    assert min(best(10.0, start) for start in starts) > 0.97
    assert best(3.0, "disk") < 0.6


def test_exchanging_inside_and_outside():
    _, image = picture(1.0, size=40, radius=10)
    start = np.random.default_rng(0).standard_normal((40, 40))
    options = dict(max_num_iter=10, extended_output=True)
    _, one, _ = region_scalable_fitting(
        image, init_level_set=start, lambda1=1.0, lambda2=2.0, **options
    )
    _, two, _ = region_scalable_fitting(
        image, init_level_set=-start, lambda1=2.0, lambda2=1.0, **options
    )
    np.testing.assert_allclose(one, -two, rtol=1e-6, atol=1e-6)


def test_single_precision_is_close_to_double():
    _, image = picture(1.0)
    mask, phi, _ = region_scalable_fitting(image, extended_output=True, max_num_iter=20, tol=0)
    single, rough, _ = region_scalable_fitting(
        image.astype(np.float32), extended_output=True, max_num_iter=20, tol=0
    )
    assert overlap(mask, single) > 0.99
    assert np.abs(phi - rough).mean() < 0.01 * np.abs(phi).mean()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(nu=-1.0), "nu must be non-negative"),
        (dict(lambda1=-1.0), "lambda1 must be non-negative"),
        (dict(lambda2=float("nan")), "lambda2 must be non-negative"),
        (dict(sigma=0.0), "sigma must be positive"),
        (dict(truncate=0.0), "truncate must be positive"),
        (dict(truncate=float("inf")), "truncate must be positive and finite, but is inf"),
    ],
)
def test_bad_input_is_named(change, message):
    with pytest.raises(ValueError, match=message):
        region_scalable_fitting(np.zeros((9, 8)), **change)
