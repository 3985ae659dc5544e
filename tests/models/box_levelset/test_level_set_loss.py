import pytest
import torch
import torch.nn.functional as F

from mmlevelset.models.box_levelset.level_set_loss import BoxLevelSetLoss, Masks
from tests.models.box_levelset.naive import level_set, similarity

SIZE = (7, 9)
CHANNELS = 3


def make_batch(count=3, mask_size=SIZE, dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    scores = torch.rand(count, *SIZE, generator=generator, dtype=dtype)
    domain = torch.zeros(count, *SIZE, dtype=torch.bool)
    boxes = ((0, 4, 2, 9), (1, 7, 0, 5), (2, 6, 3, 8), (0, 7, 0, 9))  # the last: the whole image
    for own, (top, bottom, left, right) in zip(domain, boxes, strict=False):
        own[top:bottom, left:right] = True
    image = torch.randn(3, *SIZE, generator=generator, dtype=dtype)
    mask_feats = torch.randn(1, CHANNELS, *mask_size, generator=generator, dtype=dtype)
    return scores, domain, image, mask_feats


def make_loss(seed=0, **settings):
    torch.manual_seed(seed)
    loss = BoxLevelSetLoss(CHANNELS, **settings).double()
    if loss.feature_conv is not None:
        loss.feature_conv.weight.data.normal_(0, 0.3)
    return loss


def ours(loss, scores, domain, image, mask_feats):
    deep = loss.deep_features(mask_feats)
    return loss(Masks(scores, domain, image, None if deep is None else deep[0]))


def naive(loss, scores, domain, image, mask_feats, sigma=0.02, **settings):
    deep = deep_weights = None
    if loss.feature_conv is not None:
        conv = loss.feature_conv
        deep = F.conv2d(mask_feats, conv.weight, conv.bias, padding=1)
        deep = F.interpolate(deep, SIZE, mode="bilinear", align_corners=False)[0]
        if settings.get("mode", "released") == "released":
            deep_weights = similarity(deep)
    image_weights = similarity(image, sigma)
    domain = domain.double()
    return torch.stack(
        [
            level_set(score, own, image, deep, image_weights, deep_weights, **settings)
            for score, own in zip(scores, domain, strict=True)
        ]
    )


SETTINGS = [
    {},
    dict(length_weight=1e-2),
    dict(second_filter=False),
    dict(second_filter=False, length_weight=1e-2, detach_features=True),
    dict(detach_features=True),
    dict(image_weight=0.0),
    dict(feature_weight=0.0, image_weight=2.0, length_weight=1e-2),
    dict(sigma=0.5),
    dict(mode="paper"),
    dict(mode="paper", length_weight=1e-2),
    dict(mode="paper", detach_features=False),
    dict(mode="paper", detach_features=False, standardize_features=False),
    dict(mode="paper", detach_features=False, tree_filter=False, sigma=0.5),
    dict(mode="paper", feature_weight=0.0, length_weight=1e-2),
]


def name_of(settings):
    return ",".join(f"{name}={value}" for name, value in settings.items()) or "default"


@pytest.mark.parametrize("mask_size", [SIZE, (4, 5)], ids=["same size", "smaller features"])
@pytest.mark.parametrize("settings", SETTINGS, ids=name_of)
def test_the_loss_is_the_definition(settings, mask_size):
    batch = make_batch(4, mask_size)
    loss = make_loss(**settings)
    slope = torch.rand(4, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    results = []
    for function, options in ((ours, {}), (naive, settings)):
        scores = batch[0].clone().requires_grad_()
        mask_feats = batch[3].clone().requires_grad_()
        values = function(loss, scores, *batch[1:3], mask_feats, **options)
        needed = [scores, mask_feats, *loss.parameters()]
        gradients = torch.autograd.grad(
            (values * slope).sum(), needed, allow_unused=True, materialize_grads=True
        )
        results.append([values, *gradients])
    assert results[0][0].shape == (4,)
    for name, one, other in zip(
        ("value", "scores", "mask_feats", "conv.weight", "conv.bias"), *results, strict=False
    ):
        torch.testing.assert_close(
            one, other, rtol=1e-6, atol=1e-11, msg=lambda text, name=name: f"{name}: {text}"
        )


@pytest.mark.parametrize("mode", ["released", "paper"])
def test_what_the_convolution_learns_from(mode):
    scores, *rest = make_batch()
    scores.requires_grad_()
    for detach in (None, False, True):
        loss = make_loss(mode=mode, detach_features=detach)
        ours(loss, scores, *rest).sum().backward()
        gradient = loss.feature_conv.weight.grad
        detached = mode == "paper" and detach is not False
        assert (gradient is None or not gradient.any()) == detached
    assert loss.detach_features


@pytest.mark.parametrize("settings", [{}, dict(length_weight=1e-2), dict(mode="paper")])
def test_single_precision_is_close(settings):
    batch = make_batch()
    double = ours(make_loss(**settings), *batch)
    single = ours(
        make_loss(**settings).float(),
        *(part.float() if part.is_floating_point() else part for part in batch),
    )
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), double, rtol=1e-5, atol=1e-7)


def test_gradients_of_a_nearly_constant_guide_survive_single_precision():
    """As at the start of training: weights near 1, and t2 hardly dependent on the guide."""
    batch = make_batch()
    gradients = []
    for dtype in (torch.float64, torch.float32):
        loss = make_loss().to(dtype)
        loss.feature_conv.weight.data.mul_(0.003)
        parts = (part.to(dtype) if part.is_floating_point() else part for part in batch)
        scores, *rest = parts
        ours(loss, scores.requires_grad_(), *rest).sum().backward()
        gradients.append(loss.feature_conv.weight.grad.double())
    exact, single = gradients
    assert (single - exact).norm() < 1e-4 * exact.norm()


def test_a_loss_does_not_depend_on_the_other_masks():
    scores, domain, image, mask_feats = make_batch(4)
    loss = make_loss(length_weight=1e-2)
    together = ours(loss, scores, domain, image, mask_feats)
    for number in range(4):
        one = slice(number, number + 1)
        alone = ours(loss, scores[one], domain[one], image, mask_feats)
        torch.testing.assert_close(alone, together[one])


@pytest.mark.parametrize("mode", ["released", "paper"])
def test_no_masks(mode):
    _, _, image, mask_feats = make_batch()
    scores = torch.zeros(0, *SIZE, dtype=torch.float64, requires_grad=True)
    loss = make_loss(mode=mode, length_weight=1e-2, detach_features=False)
    values = ours(loss, scores, torch.zeros(0, *SIZE, dtype=torch.bool), image, mask_feats)
    assert values.shape == (0,)
    values.sum().backward()
    assert scores.grad.shape == scores.shape


@pytest.mark.parametrize("mode", ["released", "paper"])
@pytest.mark.parametrize("value", [0.0, 1.0])
@pytest.mark.parametrize("area", [0, 1, 20])
def test_degenerate_masks_are_finite(mode, value, area):
    _, _, image, mask_feats = make_batch(dtype=torch.float32)
    scores = torch.full((1, *SIZE), value, requires_grad=True)
    domain = torch.zeros(1, *SIZE, dtype=torch.bool)
    domain.view(-1)[:area] = True
    loss = make_loss(mode=mode, length_weight=1e-2, detach_features=False).float()
    total = ours(loss, scores, domain, image, mask_feats).sum()
    total.backward()
    gradients = [scores.grad, *(parameter.grad for parameter in loss.parameters())]
    assert total.isfinite() and all(gradient.isfinite().all() for gradient in gradients)


@pytest.mark.parametrize("settings", [dict(feature_weight=0.0), {}, dict(mode="paper")])
def test_constant_images_and_features_are_finite(settings):
    scores, domain, image, mask_feats = make_batch(dtype=torch.float32)
    scores.requires_grad_()
    loss = make_loss(**settings).float()
    total = ours(loss, scores, domain, 0 * image + 7, 0 * mask_feats).sum()
    total.backward()
    assert total.isfinite() and scores.grad.isfinite().all()


def test_the_true_mask_has_the_least_image_energy():
    truth = torch.zeros(1, *SIZE)
    truth[0, 2:5, 3:7] = 1
    domain = torch.zeros(1, *SIZE, dtype=torch.bool)
    domain[0, 1:6, 2:8] = True
    image = 2 * truth.expand(3, -1, -1) - 1
    loss = BoxLevelSetLoss(CHANNELS, feature_weight=0.0, image_weight=1.0)
    assert loss.feature_conv is None and loss.deep_features(torch.zeros(1, 3, 4, 4)) is None
    at_truth = loss(Masks(truth, domain, image, None)).item()
    assert at_truth == pytest.approx(0, abs=1e-6)
    for axis in (1, 2):
        for step in (-1, 1):
            shifted = truth.roll(step, axis)
            assert loss(Masks(shifted, domain, image, None)).item() > 0.1
    # 12 of the box's 30 pixels: c = (12 - 18) / 30, energy 12 (1 - c)^2 + 18 (1 + c)^2
    mean = -6 / 30
    empty = (12 * (1 - mean) ** 2 + 18 * (1 + mean) ** 2) / 30
    assert loss(Masks(0 * truth, domain, image, None)).item() == pytest.approx(empty, rel=1e-5)


def test_the_convolution_is_there_where_it_is_used():
    for settings, there in (
        ({}, True),
        (dict(second_filter=False), False),
        (dict(feature_weight=0.0), False),
        (dict(mode="paper", second_filter=False), True),
        (dict(mode="paper", feature_weight=0.0), False),
    ):
        assert (BoxLevelSetLoss(4, **settings).feature_conv is not None) == there
    conv = BoxLevelSetLoss(4, feature_channels=9).feature_conv
    assert (conv.in_channels, conv.out_channels, conv.kernel_size) == (4, 9, (3, 3))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (dict(mode="other"), "mode must be one of released, paper, but is 'other'"),
        (dict(domain="mask"), "domain must be one of box, image, but is 'mask'"),
        (dict(image_space="hsv"), "image_space must be one of rgb, lab, but is 'hsv'"),
        (dict(image_weight=-1), "image_weight must be at least 0, but is -1"),
        (dict(feature_weight=float("nan")), "feature_weight must be at least 0, but is nan"),
        (dict(length_weight=-0.1), "length_weight must be at least 0"),
        (dict(image_weight="x"), "image_weight must be at least 0, but is 'x'"),
        (dict(filter_size=96), "filter_size must be two whole numbers of at least 2, but is 96"),
        (dict(sigma=0), "sigma must be positive, but is 0"),
        (dict(feature_channels=0), "feature_channels must be at least 1, but is 0"),
        (dict(feature_channels=2.5), "feature_channels must be at least 1, but is 2.5"),
    ],
)
def test_bad_settings_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        BoxLevelSetLoss(4, **settings)
