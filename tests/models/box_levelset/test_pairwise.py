import pytest
import torch

from mmlevelset.models.box_levelset import BoxPairwiseLoss
from tests.models.box_levelset import naive


def batch(height=9, width=11, masks=3, spread=2.0):
    generator = torch.Generator().manual_seed(height * width)
    logits = spread * torch.randn(masks, height, width, generator=generator, dtype=torch.float64)
    boxes = torch.zeros(masks, height, width, dtype=torch.bool)
    for number, box in enumerate(boxes):
        box[number : height - 2, 1 + number : width - 3] = True
    lab = torch.randn(3, height, width, generator=generator, dtype=torch.float64)
    return logits.requires_grad_(), boxes, lab


@pytest.mark.parametrize("settings", [{}, dict(kernel_size=5, dilation=1, threshold=0.1)], ids=str)
@pytest.mark.parametrize("shape", [(7, 9), (2, 9), (1, 1)])
def test_values_and_gradients_are_those_of_the_definition(shape, settings):
    logits, boxes, lab = batch(*shape)
    boxes[0] = True
    losses, edges = BoxPairwiseLoss(loss_weight=0.5, **settings)(logits, boxes, lab)
    names = dict(kernel_size="size", dilation="dilation", threshold="least")
    given = {names[name]: value for name, value in settings.items()}
    want, count = naive.pairwise(logits.sigmoid(), boxes, lab, **given)
    torch.testing.assert_close(losses, 0.5 * want)
    assert edges.tolist() == count.tolist()
    assert shape == (1, 1) or count[0] > 0
    slope = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    (found,) = torch.autograd.grad(losses, logits, slope)
    if shape != (1, 1):
        torch.testing.assert_close(found, torch.autograd.grad(0.5 * want, logits, slope)[0])


def test_padding_has_no_edges():
    logits, boxes, lab = batch()
    boxes[:] = True
    loss = BoxPairwiseLoss()
    losses, edges = loss(logits, boxes, lab[:, :6, :8])
    want, count = loss(logits[:, :6, :8], boxes[:, :6, :8], lab[:, :6, :8])
    assert torch.equal(losses, want) and torch.equal(edges, count)


@pytest.mark.parametrize("size", [50.0, 1e4, 1e30])
def test_large_logits_are_finite(size):
    logits = torch.tensor([[[size, -size, size, 0.0, -size]]], requires_grad=True)
    loss = BoxPairwiseLoss(dilation=1)
    losses, edges = loss(logits, torch.ones(1, 1, 5), torch.zeros(3, 1, 5))
    # Two pairs disagree, with a loss of size - log 2; two have a pixel at one half: log 2.
    torch.testing.assert_close(losses[0], torch.tensor(4 * size))
    assert edges.tolist() == [8]
    losses.sum().backward()
    assert logits.grad.isfinite().all()


def test_like_colours_alone_count():
    lab = torch.zeros(3, 1, 3)
    logits, box = torch.zeros(1, 1, 3), torch.ones(1, 1, 3)
    least = -2 * torch.log(torch.tensor(0.3))  # the distance of similarity 0.3
    for distance, count in ((0.99 * least, 4), (1.01 * least, 2)):
        lab[1, 0, 2] = distance
        assert BoxPairwiseLoss(dilation=1)(logits, box, lab)[1].tolist() == [count]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (dict(kernel_size=4), "kernel_size must be an odd whole number of at least 3, but is 4"),
        (dict(dilation=0), "dilation must be a whole number of at least 1, but is 0"),
        (dict(threshold=1.5), r"threshold must be in \(0, 1\], but is 1.5"),
        (dict(warmup_iters=-1), "warmup_iters must be at least 0, but is -1"),
    ],
)
def test_bad_settings_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        BoxPairwiseLoss(**settings)
