"""Region-scalable fitting and L2S: the descent that they share, on the energy of each."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytest
import torch

from mmlevelset.ops import legendre_level_set, region_scalable_fitting
from tests.ops import naive
from tests.ops.classic.pictures import overlap, uneven_light

MU, EPSILON = 0.7, 1.3
SOLVERS = pytest.mark.parametrize(
    "solve", [region_scalable_fitting, legendre_level_set], ids=lambda f: f.__name__
)


class Fit(NamedTuple):
    solve: Callable
    options: dict
    energy: Callable  # of phi and one channel of the image


def local_fit(sigma, radius):
    options = dict(sigma=sigma, lambda1=1.0, lambda2=1.5)
    return Fit(
        region_scalable_fitting,
        options,
        lambda phi, image: naive.local_fitting_energy(
            phi, image, radius=radius, eps=EPSILON, **options
        ),
    )


def polynomial_fit(order):
    options = dict(order=order, lambda1=0.5, lambda2=2.0)
    return Fit(
        legendre_level_set,
        options,
        lambda phi, image: naive.polynomial_fitting_energy(phi, image, eps=EPSILON, **options),
    )


FITS = {
    "sigma 1.2": local_fit(1.2, radius=2),
    "sigma 3": local_fit(3.0, radius=6),
    **{f"order {order}": polynomial_fit(order) for order in (0, 1, 3)},
}


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("nu", [0.0, 65.0])
def test_force_and_energy_are_the_definition(channels, fit, nu):
    solve, options, channel_energy = FITS[fit]
    random = np.random.default_rng(5)
    image = random.random((channels, 8, 7))
    scaled = torch.tensor(255 * (image - image.min()) / (image.max() - image.min()))
    start = torch.tensor(2 * random.standard_normal((8, 7)))
    _, phi, energies = solve(
        image,
        **options,
        mu=MU,
        nu=nu,
        epsilon=EPSILON,
        dt=1e-3,
        init_level_set=start,
        max_num_iter=1,
        extended_output=True,
    )
    start.requires_grad_()
    # The length's derivative is the functional one, the other terms' derivatives are exact.
    rest = torch.stack([channel_energy(start, channel) for channel in scaled]).mean()
    rest = rest + MU * naive.solver_distance_energy(start, naive.single_well)
    (derivative,) = torch.autograd.grad(rest, start)
    start, rest = start.detach(), rest.detach()
    delta = naive.printed_delta(start, EPSILON) / EPSILON
    energy = rest + nu * (delta * naive.solver_slope(start)).sum()
    assert energies[0] == pytest.approx(energy.item(), rel=1e-10)
    length = nu * delta * naive.solver_length_force(start, torch.ones_like(start))
    moved = torch.tensor(phi) - start
    torch.testing.assert_close(moved / 1e-3, length - derivative, rtol=1e-6, atol=1e-6)


@SOLVERS
def test_energy_falls(solve):
    _, image = uneven_light(bias=1.0, size=40, radius=10)
    _, _, energies = solve(image, dt=2e-3, max_num_iter=150, tol=0, extended_output=True)
    assert (np.diff(energies) < 0).all()


@SOLVERS
def test_exchanging_inside_and_outside(solve):
    _, image = uneven_light(1.0, size=40, radius=10)
    start = np.random.default_rng(0).standard_normal((40, 40))
    weight = 9.0 if solve is legendre_level_set else 2.0
    options = dict(max_num_iter=10, extended_output=True)
    _, phi, _ = solve(image, init_level_set=start, lambda1=1.0, lambda2=weight, **options)
    _, exchanged, _ = solve(image, init_level_set=-start, lambda1=weight, lambda2=1.0, **options)
    np.testing.assert_allclose(phi, -exchanged, rtol=1e-6, atol=1e-6)


@SOLVERS
def test_single_precision_is_close_to_double(solve):
    _, image = uneven_light(1.0)
    options = dict(extended_output=True, max_num_iter=20, tol=0)
    if solve is legendre_level_set:
        options["order"] = 3
    mask, phi, _ = solve(image, **options)
    single, rough, _ = solve(image.astype(np.float32), **options)
    assert overlap(mask, single) > 0.99
    assert np.abs(phi - rough).mean() < 0.01 * np.abs(phi).mean()
