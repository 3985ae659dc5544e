import numpy as np
import pytest

from mmlevelset.ops import region_scalable_fitting
from tests.ops.classic.pictures import overlap, uneven_light


@pytest.mark.parametrize("bias", [0.0, 1.0, 2.0])
def test_finds_a_disc_in_uneven_light(bias):
    disc, image = uneven_light(bias)
    assert overlap(region_scalable_fitting(image), disc) > 0.97
    if bias == 2:
        # No threshold finds the disc, so no two constants can.
        thresholds = np.quantile(image, np.linspace(0.01, 0.99, 99))
        assert max(overlap(image > t, disc) for t in thresholds) < 0.8


def test_windows_as_large_as_the_image_are_two_constants():
    disc, image = uneven_light(2.0)
    mask = region_scalable_fitting(image, sigma=100.0)
    assert overlap(mask, disc) < 0.8
    low, high = image[mask].mean(), image[~mask].mean()
    assert overlap(mask, np.abs(image - low) < np.abs(image - high)) > 0.95


def test_a_wider_window_depends_less_on_the_start():
    disc, image = uneven_light(1.0)

    def best(sigma, start):
        mask = region_scalable_fitting(image, sigma=sigma, init_level_set=start)
        return max(overlap(mask, disc), overlap(~mask, disc))

    starts = ("box", "disk", "small disk", "checkerboard")
    assert min(best(10.0, start) for start in starts) > 0.97
    assert best(3.0, "disk") < 0.6


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
