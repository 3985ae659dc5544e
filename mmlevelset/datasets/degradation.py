"""Noise, blur and uneven light on images, for robust training and its tests."""

import math
import random

import cv2
import numpy as np
from mmcv.transforms import BaseTransform

from mmlevelset.registry import TRANSFORMS


def degrade(
    image: np.ndarray,
    *,
    noise: float = 0.0,
    blur: float = 0.0,
    light: float = 0.0,
    rng: np.random.Generator,
) -> np.ndarray:
    """Return the image with uneven light, blur and noise, added in this order as a camera does.

    Args:
        image: (H, W) or (H, W, C) uint8.
        noise: Standard deviation, in grey levels, of Gaussian noise that is independent for each
            pixel and channel; at least 0.
        blur: Standard deviation in pixels of a Gaussian filter; at least 0.
        light: In [0, 1]. Brightness is multiplied by a linear ramp in a random direction. Along a
            diagonal the ramp goes from 1 - ``light`` to 1 + ``light``; along a side it spans less.
        rng: Source of the noise and of the ramp's direction.

    Returns:
        An image of the same shape, uint8; values beyond 0..255 are cut.

    Raises:
        ValueError: An amount is out of its range, or the image is not as above.
    """
    _check(noise, blur, light)
    if image.dtype != np.uint8 or image.ndim not in (2, 3):
        raise ValueError(
            f"image must be uint8 (H, W) or (H, W, C), not {image.dtype} {image.shape}"
        )
    values = image.astype(np.float32)
    if light:
        ramp = 1 + light * _ramp(image.shape[0], image.shape[1], rng)
        values *= ramp.reshape(*ramp.shape, *(1,) * (image.ndim - 2))
    if blur:
        values = cv2.GaussianBlur(values, (0, 0), blur).reshape(image.shape)
    if noise:
        values = values + noise * rng.standard_normal(values.shape, dtype=np.float32)
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def _check(noise: float, blur: float, light: float) -> None:
    amounts = (("noise", noise, math.inf), ("blur", blur, math.inf), ("light", light, 1.0))
    for name, amount, most in amounts:
        if not (0 <= amount <= most and math.isfinite(amount)):
            bound = "in [0, 1]" if most == 1 else "a finite number of at least 0"
            raise ValueError(f"{name} must be {bound}, not {amount}")


def _ramp(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """Return a plane (H, W) in [-1, 1] that rises in a random direction and is 0 in the middle."""
    angle = rng.uniform(0, 2 * math.pi)
    y, x = (np.linspace(-1, 1, size, dtype=np.float32) for size in (height, width))
    plane = math.sin(angle) * y[:, None] + math.cos(angle) * x
    return plane / math.sqrt(2)


@TRANSFORMS.register_module()
class Degrade(BaseTransform):
    """Apply :func:`degrade` with amounts drawn uniformly for each image, from 0 to a maximum.

    RLS degrades its training images in this way (Le et al., Recurrent Level Set Networks, 2019,
    section 6.1.1); the paper does not print the amounts.

    Required and changed key: ``img``, uint8.

    Args:
        noise: Largest noise; see :func:`degrade`.
        blur: Largest blur.
        light: Largest unevenness of light.
        prob: Share of the images that are degraded.

    Raises:
        ValueError: An amount or ``prob`` is out of its range.
    """

    def __init__(
        self, noise: float = 20.0, blur: float = 1.5, light: float = 0.5, prob: float = 0.5
    ) -> None:
        self.most = dict(noise=noise, blur=blur, light=light)
        _check(**self.most)
        if not 0 <= prob <= 1:
            raise ValueError(f"prob must be in [0, 1], not {prob!r}")
        self.prob = prob

    def transform(self, results: dict) -> dict:
        if random.random() < self.prob:
            amounts = {name: random.uniform(0, most) for name, most in self.most.items()}
            rng = np.random.default_rng(random.getrandbits(64))
            results["img"] = degrade(results["img"], **amounts, rng=rng)
        return results

    def __repr__(self) -> str:
        amounts = ", ".join(f"{name}={most}" for name, most in self.most.items())
        return f"{type(self).__name__}({amounts}, prob={self.prob})"
