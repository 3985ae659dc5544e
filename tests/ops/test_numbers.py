"""Numbers among the arguments: NumPy's are taken, and what is no number is named."""

import numpy as np
import pytest
import torch

from mmlevelset.ops import (
    chan_vese,
    contours,
    curvature,
    dirac,
    evolve_chan_vese,
    heaviside,
    minimum_spanning_tree,
    signed_distance,
    surface,
    tree_filter,
)

PHI = np.linspace(-1, 1, 60).reshape(3, 4, 5)
WIDE = (2.0, 1.0, 0.5)
TREE = minimum_spanning_tree(PHI, backend="torch")

NUMBERS = {
    "eta of curvature": ("eta", lambda value: curvature(PHI, eta=value)),
    "eta": (
        "eta",
        lambda value: evolve_chan_vese(PHI, PHI[:, None], *[1.0] * 5, steps=1, eta=value),
    ),
    "heaviside": ("eps", lambda value: heaviside(PHI, value)),
    "dirac": ("eps", lambda value: dirac(PHI, value)),
    "truncation": ("truncation", lambda value: signed_distance(PHI > 0, value)),
    "contours": ("level", lambda value: contours(PHI, value)),
    "surface": ("level", lambda value: surface(PHI, value)),
    "tree_filter": ("sigma", lambda value: tree_filter(PHI, TREE, PHI, value, backend="torch")),
}


@pytest.mark.parametrize("value", ["a", [1.0], True, 1j])
@pytest.mark.parametrize("name", NUMBERS)
def test_what_is_no_number_is_named(name, value):
    argument, call = NUMBERS[name]
    kind = type(value).__name__
    with pytest.raises(TypeError, match=f"^{argument} must be a number, but is {kind}$"):
        call(value)


@pytest.mark.parametrize("name", NUMBERS)
def test_numbers_of_numpy_are_taken(name):
    _, call = NUMBERS[name]
    np.testing.assert_equal(call(np.float32(0.5)), call(0.5))


@pytest.mark.parametrize("convert", [np.asarray, torch.tensor])
@pytest.mark.parametrize(
    "call",
    [
        lambda phi, spacing: signed_distance(phi > 0, spacing=spacing),
        lambda phi, spacing: curvature(phi, spacing=spacing),
        lambda phi, spacing: chan_vese(phi, max_num_iter=1, spacing=spacing),
        lambda phi, spacing: surface(phi, spacing=spacing).vertices,
    ],
)
def test_spacing_may_be_an_array(call, convert):
    phi = convert(PHI)
    got = call(phi, np.array(WIDE))
    assert type(got) is type(call(phi, WIDE))
    np.testing.assert_array_equal(got, call(phi, WIDE))
    with pytest.raises(ValueError, match="^spacing must be 2 numbers .*, but is "):
        call(phi, np.array([1.0, 2, 3, 4]))
    with pytest.raises(ValueError, match="^spacing must be 2 numbers .*, but is tensor"):
        call(phi, torch.ones(3))
