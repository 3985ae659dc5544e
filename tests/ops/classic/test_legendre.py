import numpy as np
import pytest
import torch

from mmlevelset.ops import legendre_level_set
from mmlevelset.ops.classic.legendre import legendre_polynomials
from tests.ops.classic.pictures import overlap, uneven_light


@pytest.mark.parametrize("size", [1, 2, 17])
def test_polynomials_are_torchs(size):
    like = torch.zeros(1, dtype=torch.float64)
    x = (torch.arange(size, dtype=torch.float64) + 0.5) * 2 / size - 1
    for order in (0, 1, 5):
        got = legendre_polynomials(size, order, like)
        assert got.shape == (order + 1, size)
        for n, row in enumerate(got):
            torch.testing.assert_close(row, torch.special.legendre_polynomial_p(x, n))


@pytest.mark.parametrize("bias", [0.0, 1.0, 2.0, 4.0])
@pytest.mark.parametrize("init", ["box", "disk", "small disk", "checkerboard"])
def test_finds_a_disc_in_uneven_light_from_any_start(bias, init):
    disc, image = uneven_light(bias)
    mask = legendre_level_set(image, init_level_set=init)
    assert max(overlap(mask, disc), overlap(~mask, disc)) > 0.97


def test_order_zero_is_two_constants_and_fails_there():
    disc, image = uneven_light(4.0)
    mask = legendre_level_set(image, order=0)
    assert overlap(mask, disc) < 0.5
    low, high = image[mask].mean(), image[~mask].mean()
    assert overlap(mask, np.abs(image - low) < np.abs(image - high)) > 0.95


def test_curved_light_needs_a_higher_order():
    disc, image = uneven_light()
    y, x = np.mgrid[:64, :64] / 31.5 - 1
    image = image + 3 * (x**2 - y**2)
    assert overlap(legendre_level_set(image, order=2), disc) > 0.97
    assert overlap(legendre_level_set(image, order=1), disc) < 0.7


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
