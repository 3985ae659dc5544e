import pytest
import torch

from mmlevelset.models.box_levelset import BoxProjectionLoss, LocalConsistencyLoss
from mmlevelset.registry import MODELS
from tests.models.box_levelset.naive import consistency


def test_projection_of_known_masks():
    box = torch.zeros(1, 6, 8, dtype=torch.bool)
    box[0, 1:4, 2:7] = True  # 3 rows, 5 columns
    loss = BoxProjectionLoss(loss_weight=1.0)
    assert loss(box.float(), box).item() == pytest.approx(0, abs=1e-5)
    assert loss(0.0 * box, box).item() == pytest.approx(2)
    # A cross touches all sides of the box, so projections say no more of it.
    cross = torch.zeros(1, 6, 8)
    cross[0, 2, 2:7] = cross[0, 1:4, 4] = 1
    assert loss(cross, box).item() == pytest.approx(0, abs=1e-5)
    # One pixel: 1 - 2 / (1 + 5) on x, 1 - 2 / (1 + 3) on y
    pixel = torch.zeros(1, 6, 8)
    pixel[0, 2, 4] = 1
    assert loss(pixel, box).item() == pytest.approx(2 / 3 + 1 / 2, abs=1e-5)
    # A half everywhere: on x 1 - 5 / (8/4 + 5), on y 1 - 3 / (6/4 + 3)
    half = torch.full((1, 6, 8), 0.5)
    assert loss(half, box).item() == pytest.approx(2 / 7 + 1 / 3, abs=1e-5)
    assert BoxProjectionLoss()(half, box).item() == pytest.approx(3 * (2 / 7 + 1 / 3), abs=1e-5)


def test_projection_reaches_only_the_maxima():
    scores = torch.rand(2, 4, 5, requires_grad=True)
    box = torch.ones(2, 4, 5, dtype=torch.bool)
    loss = BoxProjectionLoss()(scores, box)
    assert loss.shape == (2,)
    loss.sum().backward()
    values = scores.detach()
    reached = (values == values.amax(1, keepdim=True)) | (values == values.amax(2, keepdim=True))
    assert torch.equal(scores.grad != 0, reached)
    assert (scores.grad[reached] < 0).all()


def test_projection_of_nothing():
    scores = torch.zeros(0, 4, 5, requires_grad=True)
    loss = BoxProjectionLoss()(scores, torch.zeros(0, 4, 5, dtype=torch.bool))
    assert loss.shape == (0,)
    loss.sum().backward()


def halves(axis, size=16):
    map_ = torch.zeros(size, size)
    map_.narrow(axis, size // 2, size // 2).fill_(1)
    return map_


def test_consistent_masks_cost_less():
    image = torch.stack([halves(1), 0.5 * halves(1), -halves(1)])
    image = image + 0.01 * torch.randn(image.shape, generator=torch.Generator().manual_seed(0))
    box = torch.ones(1, 16, 16, dtype=torch.bool)
    loss = LocalConsistencyLoss()
    along, across = (loss(halves(axis)[None], box, image).item() for axis in (1, 0))
    noise = torch.rand(1, 16, 16, generator=torch.Generator().manual_seed(1)).round()
    assert 0 <= along < across / 3 < loss(noise, box, image).item() / 3
    for value in (0.0, 0.3, 1.0):
        uniform = torch.full((1, 16, 16), value)
        assert loss(uniform, box, image).item() == pytest.approx(0, abs=1e-4)


def test_consistency_of_one_average_by_hand():
    # In a uniform image the eight neighbours count alike, those beyond the border repeat it.
    scores = torch.zeros(1, 7, 7)
    scores[0, 3, 3] = 1
    loss = LocalConsistencyLoss(num_iterations=1, loss_weight=4.0)
    image, box = torch.zeros(3, 7, 7), torch.zeros(1, 7, 7, dtype=torch.bool)
    box[0, 2:6, 2:6] = True  # of the neighbours at distance 2 only those at (5, 3), (3, 5), (5, 5)
    assert loss(scores, box, image).item() == pytest.approx(4 * (1 + 3 / 8), rel=1e-5)
    nearer = LocalConsistencyLoss(num_iterations=1, dilation=1, loss_weight=4.0)
    assert nearer(scores, box, image).item() == pytest.approx(4 * (1 + 8 / 8), rel=1e-5)


@pytest.mark.parametrize(
    "settings",
    [{}, dict(iterations=1), dict(iterations=3, dilation=1, alpha=0.7), dict(dilation=3)],
    ids=str,
)
def test_consistency_is_the_definition_of_its_authors(settings):
    """Values and gradients; the gradients flow through the averages."""
    generator = torch.Generator().manual_seed(0)
    scores = torch.rand(2, 4, 6, generator=generator, dtype=torch.float64)
    image = torch.randn(3, 4, 6, generator=generator, dtype=torch.float64)
    image[:, :, 3:] = 2 * image[:, :1, 3:4]  # flat: the neighbours have no spread
    box = torch.zeros(2, 4, 6, dtype=torch.bool)
    box[0, 1:3, :4] = box[1, :, 2:] = True
    options = {"num_iterations": settings.get("iterations", 10), **settings}
    options.pop("iterations", None)
    slope = torch.tensor([1.0, -0.7], dtype=torch.float64)
    results = []
    for function in (
        LocalConsistencyLoss(**options),
        lambda *inputs: 0.2 * consistency(*inputs, **settings),
    ):
        leaf = scores.clone().requires_grad_()
        values = function(leaf, box, image)
        results += [values, *torch.autograd.grad((slope * values).sum(), leaf)]
    assert results[0].shape == (2,)
    torch.testing.assert_close(results[0], results[2])
    torch.testing.assert_close(results[1], results[3], atol=1e-12, rtol=1e-7)
    single = LocalConsistencyLoss(**options)(scores.float(), box, image.float())
    torch.testing.assert_close(single.double(), results[2], atol=1e-6, rtol=1e-4)


def test_consistency_of_nothing_and_of_tiny_maps():
    loss = LocalConsistencyLoss()
    scores = torch.zeros(0, 4, 5, requires_grad=True)
    value = loss(scores, torch.zeros(0, 4, 5, dtype=torch.bool), torch.zeros(3, 4, 5))
    assert value.shape == (0,)
    value.sum().backward()
    one = loss(torch.ones(1, 1, 1), torch.ones(1, 1, 1, dtype=torch.bool), torch.zeros(3, 1, 1))
    assert one.item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("loss", ["BoxProjectionLoss", "LocalConsistencyLoss", "BoxPairwiseLoss"])
@pytest.mark.parametrize("weight", [-1, float("nan"), "3"])
def test_weights_are_at_least_0(loss, weight):
    with pytest.raises(ValueError, match=f"loss_weight must be at least 0, but is {weight!r}"):
        MODELS.build(dict(type=f"mmlevelset.{loss}", loss_weight=weight))


def test_a_scale_of_zero_is_named():
    with pytest.raises(ValueError, match="alpha must be positive, but is 0"):
        LocalConsistencyLoss(alpha=0)


@pytest.mark.parametrize("name", ["num_iterations", "dilation"])
@pytest.mark.parametrize("value", [0, -1, 1.5])
def test_bad_settings_of_the_consistency_are_named(name, value):
    with pytest.raises(ValueError, match=f"{name} must be a whole number.*{value}"):
        MODELS.build(dict(type="mmlevelset.LocalConsistencyLoss", **{name: value}))


def test_averages_on_smaller_maps():
    """The masks' own size changes nothing, a flat mask agrees with its average at any size."""
    generator = torch.Generator().manual_seed(0)
    scores, image = torch.rand(2, 12, 14, generator=generator), torch.rand(3, 12, 14)
    boxes = torch.ones(2, 12, 14, dtype=torch.bool)
    usual = LocalConsistencyLoss()(scores, boxes, image)
    assert torch.equal(LocalConsistencyLoss(size=(12, 14))(scores, boxes, image), usual)
    small = LocalConsistencyLoss(size=(6, 7))
    found = small(scores.requires_grad_(), boxes, image)
    assert (found > usual).all()  # what the small map has lost counts too
    (slope,) = torch.autograd.grad(found.sum(), scores)
    assert slope.isfinite().all() and slope.any()
    flat = torch.full_like(scores, 0.3)
    torch.testing.assert_close(small(flat, boxes, image), torch.zeros(2), atol=1e-5, rtol=0)
