"""torch.func and torch.compile over the ops, and the sentences of what is refused."""

import pytest
import torch
from torch.autograd import forward_ad

from mmlevelset.ops import (
    contour_length,
    curvature,
    dirac,
    evolve_chan_vese,
    heaviside,
    minimum_spanning_tree,
    region_energy,
    region_means,
    signed_distance,
    tree_filter,
)

generator = torch.Generator().manual_seed(0)
FEATURES = torch.rand(2, 3, 5, 4, generator=generator, dtype=torch.float64)
MAPS = torch.rand(2, 5, 4, generator=generator, dtype=torch.float64)
TREE = minimum_spanning_tree(FEATURES)
SMOOTH = {
    "heaviside": heaviside,
    "dirac": dirac,
    "curvature": curvature,
    "contour_length": lambda x: contour_length(x, True),
}
OPS = {
    "region_means": lambda x: torch.stack(region_means(FEATURES, x)),
    "region_energy": lambda x: region_energy(FEATURES[0], x),
    "evolve_chan_vese": lambda x: evolve_chan_vese(x, FEATURES, 1.0, 1.0, 0.1, 1.0, 0.5, steps=2),
    "tree_filter": lambda x: tree_filter(x[:, None], TREE, FEATURES),
}
slow_batching = pytest.mark.filterwarnings("ignore:There is a performance drop:UserWarning")


@slow_batching
@pytest.mark.parametrize("name", SMOOTH | OPS)
def test_grad_vmap_and_compile(name):
    function = (SMOOTH | OPS)[name]

    def loss(x):
        return function(x).square().sum()

    leaf = MAPS.clone().requires_grad_()
    (expected,) = torch.autograd.grad(loss(leaf), leaf)
    torch.testing.assert_close(torch.func.grad(loss)(MAPS), expected)
    batch = torch.stack([MAPS, MAPS / 2])
    one_by_one = torch.stack([function(x) for x in batch])
    torch.testing.assert_close(torch.vmap(function)(batch), one_by_one)
    together = torch.vmap(torch.func.grad(loss))(batch)
    torch.testing.assert_close(together[0], expected)
    torch.compiler.reset()
    compiled = torch.compile(function, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(MAPS), function(MAPS))


@slow_batching
def test_masks_batch_and_compile():
    masks = torch.stack([MAPS, MAPS / 2]) > 0.4
    assert torch.equal(torch.vmap(signed_distance)(masks), signed_distance(masks))
    torch.compiler.reset()
    compiled = torch.compile(signed_distance, fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(masks, 2.0), signed_distance(masks, 2.0))


@pytest.mark.parametrize("name", OPS)
def test_forward_mode_is_refused_in_a_sentence(name):
    """A tangent that the op does not know would be zero in silence."""
    message = "has no forward-mode derivative: use reverse mode"
    with pytest.raises(RuntimeError, match=message):
        torch.func.jvp(OPS[name], (MAPS,), (MAPS,))
    with forward_ad.dual_level(), pytest.raises(RuntimeError, match=message):
        OPS[name](forward_ad.make_dual(MAPS, MAPS))


@pytest.mark.parametrize("name", OPS)
def test_second_derivatives_are_refused_in_a_sentence(name):
    def loss(x):
        return OPS[name](x).square().sum()

    with pytest.raises(RuntimeError, match="has no second derivative"):
        torch.func.grad(lambda x: torch.func.grad(loss)(x).sum())(MAPS)
