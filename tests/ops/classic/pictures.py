"""Pictures of a disc at a known place, for the solvers' tests."""

import numpy as np


def uneven_light(bias=0.0, size=64, radius=16, noise=0.02):
    """A disc on a ground that grows brighter to the right by ``bias`` times the disc's contrast."""
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    disc = y**2 + x**2 < radius**2
    random = np.random.default_rng(0).standard_normal(disc.shape)
    return disc, disc + bias * x / size + noise * random


def overlap(first, second):
    """Intersection over union of two masks."""
    return (first & second).sum() / (first | second).sum()
