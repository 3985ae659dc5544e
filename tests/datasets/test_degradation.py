import random

import numpy as np
import pytest

from mmlevelset.datasets import Degrade
from mmlevelset.datasets.degradation import degrade
from mmlevelset.registry import TRANSFORMS

GREY = np.full((60, 80, 3), 120, np.uint8)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_without_amounts_an_image_stays_as_it_is():
    image = rng().integers(0, 256, (7, 9, 3), np.uint8)
    np.testing.assert_array_equal(degrade(image, rng=rng()), image)


def test_noise_has_its_standard_deviation_and_no_bias():
    error = degrade(GREY, noise=10, rng=rng()) - 120.0
    assert abs(error.std() - 10) < 0.3
    assert abs(error.mean()) < 0.3
    assert abs(np.corrcoef(error[..., 0].ravel(), error[..., 1].ravel())[0, 1]) < 0.05


def test_blur_spreads_a_point_by_its_standard_deviation():
    image = np.zeros((41, 41), np.uint8)
    image[18:23, 18:23] = 255
    blurred = degrade(image, blur=2.0, rng=rng()).astype(float)
    y = np.arange(41) - 20
    variance = (blurred.sum(1) * y**2).sum() / blurred.sum()
    assert abs(variance - (2.0**2 + 2.0)) < 0.3  # a square of five pixels has variance 2
    assert abs(blurred.sum() / image.sum() - 1) < 0.01


@pytest.mark.parametrize("seed", range(5))
def test_light_is_a_plane_that_keeps_the_mean(seed):
    lit = degrade(GREY, light=0.5, rng=rng(seed))[..., 0].astype(float)
    y, x = np.mgrid[:60, :80]
    plane = np.stack([np.ones(60 * 80), y.ravel(), x.ravel()], 1)
    fit = plane @ np.linalg.lstsq(plane, lit.ravel(), rcond=None)[0]
    assert np.abs(fit - lit.ravel()).max() < 1
    assert abs(lit.mean() - 120) < 0.5
    assert 0.3 * 120 < np.ptp(lit) <= 120


def test_the_generator_decides():
    amounts = dict(noise=5, light=0.5)
    first, same, other = (degrade(GREY, **amounts, rng=rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, same)
    assert (first != other).any()


def test_a_channel_alone_and_all_are_lit_alike():
    lit = degrade(GREY, light=0.7, blur=1, rng=rng())
    np.testing.assert_array_equal(lit[..., 0], degrade(GREY[..., 0], light=0.7, blur=1, rng=rng()))


@pytest.mark.parametrize(
    ("amounts", "message"),
    [
        (dict(noise=-1), "noise must be a finite number of at least 0, not -1"),
        (dict(blur=float("inf")), "blur must be a finite number of at least 0, not inf"),
        (dict(light=1.5), r"light must be in \[0, 1\], not 1.5"),
        (dict(noise=float("nan")), "noise must be"),
    ],
)
def test_amounts_out_of_range(amounts, message):
    with pytest.raises(ValueError, match=message):
        degrade(GREY, **amounts, rng=rng())


def test_images_of_other_types():
    with pytest.raises(ValueError, match=r"uint8 .* not float64 \(4, 4\)"):
        degrade(np.zeros((4, 4)), rng=rng())


def test_training_degrades_its_share_of_the_images_each_differently():
    random.seed(0)
    make = TRANSFORMS.build(dict(type="mmlevelset.Degrade", noise=20, blur=0, light=0, prob=0.5))
    spreads = [make(dict(img=GREY.copy()))["img"].std() for _ in range(200)]
    touched = [spread for spread in spreads if spread]
    assert 75 < len(touched) < 125
    assert min(touched) < 4 and 16 < max(touched) < 20.5
    assert len(set(touched)) == len(touched)


def test_training_is_reproducible():
    found = []
    for _ in range(2):
        random.seed(3)
        found.append(Degrade(prob=1.0)(dict(img=GREY.copy()))["img"])
    np.testing.assert_array_equal(*found)


@pytest.mark.parametrize("name, value", [("noise", -1), ("blur", float("inf")), ("light", 1.5)])
def test_wrong_amounts_in_training(name, value):
    with pytest.raises(ValueError, match=f"^{name} must be"):
        Degrade(**{name: value})
    with pytest.raises(ValueError, match="^prob must be"):
        Degrade(prob=2)
