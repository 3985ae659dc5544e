"""The evolution in the mask head: alive from the first step, whatever features and grid it gets."""

import pytest
import torch
import torch.nn.functional as F

from mmlevelset.models import (
    ConvolutionMaskHead,
    GlobalHyperparameters,
    HyperparameterHead,
    LevelSetMaskHead,
    PANetLevelSetMaskHead,
)
from mmlevelset.models.levelset_rcnn.heads import MINIMUM_EPS
from mmlevelset.models.levelset_rcnn.sources import FeatureSources
from mmlevelset.ops import evolve_chan_vese
from tests.models.levelset_rcnn.builders import SMALL

LABELS = torch.tensor([0, 1, 2, 0])


def mask_head(kind=LevelSetMaskHead, **options):
    torch.manual_seed(0)
    head = kind(**(SMALL | dict(mask_size=28) | options))
    head.init_weights()
    return head


def features(count=4, channels=8, seed=0):
    """RoI features of objects: a blob in other channels than its surroundings."""
    generator = torch.Generator().manual_seed(seed)
    centre = torch.rand(count, 2, generator=generator) * 4 + 5
    y, x = torch.meshgrid(torch.arange(14.0), torch.arange(14.0), indexing="ij")
    radius = torch.hypot(y - centre[:, :1, None], x - centre[:, 1:, None])
    inside = (radius < 4)[:, None].float()
    kinds = torch.randn(2, channels, 1, 1, generator=generator)
    noise = torch.randn(count, channels, 14, 14, generator=generator) * 0.3
    return inside * kinds[0] + (1 - inside) * kinds[1] + noise, inside[:, 0]


@pytest.mark.parametrize(("classes", "width"), [(1, 64), (80, 8)])
@pytest.mark.parametrize("kind", [LevelSetMaskHead, PANetLevelSetMaskHead])
def test_the_initial_level_set_starts_in_range(kind, classes, width):
    head = mask_head(kind, num_classes=classes, in_channels=width, conv_out_channels=width)
    for scale in (0.1, 15.0):
        x = torch.randn(4, width, 14, 14) * scale
        phi = head(x, torch.arange(4) % classes).initial
        assert phi.abs().quantile(0.99) < 1 and phi.std() > 1e-3


@pytest.mark.parametrize(("scale", "normalize"), [(0.1, True), (15.0, True), (15.0, False)])
def test_the_evolution_lives_on_features_of_any_scale(scale, normalize):
    head = mask_head(normalize_rois=normalize).train()
    optimizer = torch.optim.Adam(head.parameters(), lr=1e-3)
    x, inside = features()
    truth = F.interpolate(inside[:, None], size=28)[:, 0] * 2 - 1
    for _ in range(50):
        found = head(x * scale, LABELS)
        loss = (found.initial - truth).abs().mean() + (found.final - truth).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    log = head(x * scale, LABELS).log
    assert sum(value.mean() for name, value in log.items() if name.startswith("moved_")) > 0.05
    for name, (low, high) in head.hyperparameter_head.learned_ranges.items():
        for key, value in log.items():
            if key.startswith(name):
                low = max(low, 0)
                assert 0.03 < (value.mean() - low) / (high - low) < 0.97, key


def logged(**options):
    head = mask_head(**options).train()
    x, _ = features()
    image = torch.randn(4, 3, 28, 28)
    fine = torch.randn(4, options.get("fine_channels", 1), 28, 28)
    crops = {}
    if head.image_features:
        crops["image"] = image
    if head.fine_projection is not None:
        crops["fine"] = fine
    return head(x, LABELS, **crops).log


def test_the_log_has_settings_movement_and_terms():
    log = logged(fine_channels=2, image_features=True)
    steps = ("_1", "_2", "_3")
    expected = {"lambda1", "lambda2", "mu", "term_curvature", "term_data"}
    expected |= {name + step for name in ("eps", "dt", "moved") for step in steps}
    expected |= {f"data_scale_{name}" for name in ("head", "fine", "image")}
    assert set(log) == expected
    assert all(value.shape == (4,) and not value.requires_grad for value in log.values())
    assert mask_head().eval()(features()[0], LABELS).log is None


@pytest.mark.parametrize("delta", ["printed", "derivative"])
def test_the_logged_terms_are_those_of_the_equation(delta):
    head = mask_head(num_steps=1, delta=delta, data_scale=None).train()
    x, _ = features()
    full = head(x, LABELS)
    head.curvature_scale = 0.0
    plain = head(x, LABELS)
    near = full.initial.abs() < 0.5
    for name, change in (
        ("term_data", plain.final - plain.initial),
        ("term_curvature", full.final - plain.final),
    ):
        size = (change.abs() * near).sum((1, 2)) / near.sum((1, 2))
        torch.testing.assert_close(full.log[name], size, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("scale", [0.01, 1.0, 100.0])
@pytest.mark.parametrize("channels", [2, 64])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_the_data_term_has_order_one_at_the_contour(scale, channels, reduction):
    """From the first step on, for an object that is as different from the rest as noise is."""
    head = mask_head(reduction=reduction).train()
    at = torch.arange(28) + 0.5 - 14
    truth = (9 - torch.hypot(at[:, None], at)) / head.truncation
    shifted = (9 - torch.hypot(at[:, None] - 3, at)) / head.truncation
    torch.manual_seed(1)
    kinds = torch.randn(channels, 1, 1) * torch.where(truth > 0, 1, -1)
    maps = (kinds + torch.randn(4, channels, 28, 28)) * scale + 3 * scale
    features, gain = head.sources([maps])
    start = shifted.clamp(-1, 1).expand(4, -1, -1)
    level_sets, log = head.evolve(start, torch.zeros(4, 8, 14, 14), features, gain)
    assert 0.1 < log["term_data"].mean() < 1
    assert ((level_sets[:, -1] > 0) == (truth > 0)).float().mean() > 0.9


def test_the_scale_of_a_source_does_not_matter():
    torch.manual_seed(0)
    maps = [torch.randn(3, 4, 9, 9), torch.randn(3, 2, 9, 9) + 5]
    settings = [torch.full((3,), value) for value in (1.0, 0.8, 0.1)]
    steps = [torch.ones(3, 2), torch.ones(3, 2)]
    phi = torch.randn(3, 9, 9)

    def evolved(sources, *maps):
        joined, gain = sources(list(maps))
        lambda1, lambda2, mu = settings
        scaled = (lambda1 * gain, lambda2 * gain, mu)
        return evolve_chan_vese(phi, joined, *scaled, *steps, reduction=sources.reduction)

    for reduction in ("mean", "sum"):
        sources = FeatureSources(("a", "b"), reduction=reduction)
        expected = evolved(sources, *maps)
        other = evolved(sources, maps[0] * 40 - 3, maps[1] / 7)
        torch.testing.assert_close(other, expected, rtol=1e-3, atol=1e-3)
        one = FeatureSources(("a",), reduction=reduction)
        torch.testing.assert_close(
            evolved(one, maps[0] * 40), evolved(one, maps[0]), rtol=1e-3, atol=1e-3
        )


def test_sources_in_half_precision_and_of_no_variance():
    sources = FeatureSources(("a", "b"))
    torch.manual_seed(0)
    wide, narrow = torch.randn(2, 3, 9, 9) * 3e3, torch.randn(2, 3, 9, 9)
    maps = [wide.half().requires_grad_(), narrow.half()]
    joined, gain = sources(maps)
    expected, _ = sources([wide, narrow])
    torch.testing.assert_close(joined.float(), expected, rtol=1e-2, atol=1e-2)
    (joined.float().square().sum() + gain.sum()).backward()
    assert maps[0].grad.isfinite().all()
    joined, _ = sources([torch.ones(2, 3, 9, 9), narrow])
    assert joined.isfinite().all()


def test_the_curvature_is_the_same_on_every_grid():
    """The contour of a disc shrinks by the same share of the box, on 28, 56 and 112 samples."""
    shrunk = []
    for size in (28, 56, 112):
        fixed = dict(lambda1=0.0, lambda2=0.0, mu=2.0, dt=2.0)  # eps is about 1
        head = mask_head(
            mask_size=size,
            hyperparameter_head=SMALL["hyperparameter_head"] | dict(fixed=fixed),
            curvature_scale=0.5,
        )
        at = (torch.arange(size) + 0.5) * 28 / size - 14
        disc = ((8 - torch.hypot(at[:, None], at)) / head.truncation).clamp(-1, 1)
        start = disc.expand(4, -1, -1)
        ones = torch.ones(4)
        x, maps = torch.zeros(4, 8, 14, 14), torch.randn(4, 2, size, size)
        level_sets, _ = head.evolve(start, x, maps, ones)
        row = level_sets[0, -1, size // 2, size // 2 :] * head.truncation
        shrunk.append(8 - (row[row > 0].min() + at[size // 2 :][row > 0].max()).item())
    # kappa is -1 / r, each step adds 0.5 mu dt / pi of it, in samples of 28
    expected = 3 * 0.5 * 2 * 2 / torch.pi / 7.7
    assert shrunk == pytest.approx([expected] * 3, rel=0.12)


@pytest.mark.parametrize("size", [28, 56, 112])
def test_the_curvature_is_stable_and_gentle_over_its_whole_range(size):
    head = mask_head(mask_size=size)
    mu, dt = (head.hyperparameter_head.RANGES[name][1] for name in ("mu", "dt"))
    sharpest = 1.0  # 1 / radius, in samples of 28
    assert head.curvature_scale * mu * dt * sharpest / torch.pi < 0.25
    fixed = dict(lambda1=0.0, lambda2=0.0, mu=mu, dt=dt)
    settings = SMALL["hyperparameter_head"] | dict(fixed=fixed)
    head = mask_head(mask_size=size, hyperparameter_head=settings)
    row, column = torch.arange(size)[:, None], torch.arange(size)
    ripple = 0.2 * torch.sin(torch.pi / 2 * column) + 0 * row  # of 4 samples, the worst
    start = (row - size / 2 + ripple) / head.samples_in_truncation
    x, maps = torch.zeros(4, 8, 14, 14), torch.randn(4, 2, size, size)
    level_sets, _ = head.evolve(start.expand(4, -1, -1), x, maps, torch.ones(4))
    middle = level_sets[0, :, size // 2, 8:-8]
    waves = middle.std(1)
    assert (waves.diff() <= 1e-6).all(), waves


@pytest.mark.parametrize("logit", [-12.0, 0.0, 12.0])
def test_no_setting_is_without_a_gradient(logit):
    head = GlobalHyperparameters(num_steps=2)
    with torch.no_grad():
        head.logits.fill_(logit)
    settings = head(torch.zeros(1, 8, 14, 14))
    for name, value in settings._asdict().items():
        low, high = head.RANGES[name]
        assert (value >= low).all() and (value <= high).all()
        (gradient,) = torch.autograd.grad(value.sum(), head.logits, retain_graph=True)
        assert (gradient != 0).sum() == value[0].numel(), name
    assert settings.eps.min() >= MINIMUM_EPS


@pytest.mark.parametrize("kind", [HyperparameterHead, GlobalHyperparameters])
def test_fixed_settings_are_not_learned(kind):
    head = kind(num_steps=2, in_channels=8, fixed=dict(mu=0.0, eps=0.3))
    settings = head(torch.randn(5, 8, 14, 14))
    assert (settings.mu == 0).all() and (settings.eps == 0.3).all()
    assert settings.eps.shape == (5, 2)
    assert set(head.learned_ranges) == {"lambda1", "lambda2", "dt"}
    with pytest.raises(ValueError, match="fixed must name lambda1, .*'nu'"):
        kind(fixed=dict(nu=1.0))
    for value in (0.0, -1.0, float("inf"), "1"):
        with pytest.raises(ValueError, match="fixed.eps must be at least 0.01, but is"):
            kind(fixed=dict(eps=value))
    with pytest.raises(ValueError, match="fixed must leave"):
        kind(fixed=dict.fromkeys(head.RANGES, 1.0))


def test_the_control_adds_a_convolution_of_the_same_features():
    head = mask_head(ConvolutionMaskHead, num_steps=1, fine_channels=3, image_features=True)
    x, image, fine = features()[0], torch.randn(4, 3, 28, 28), torch.randn(4, 3, 28, 28)
    head.train()
    found = head(x, LABELS, image, fine)
    assert found.trajectory.shape == (4, 2, 28, 28) and set(found.log) == {"moved_1"}
    assert not hasattr(head, "hyperparameter_head")
    assert torch.equal(found.initial, found.final)
    found.final.sum().backward()
    assert head.step.weight.grad.all() and head.step.weight.shape[1] == 4 + 3 + 3
    with pytest.raises(ValueError, match="num_steps must be 1"):
        mask_head(ConvolutionMaskHead, num_steps=3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(initial_std=0.0), "initial_std must be positive"),
        (dict(targets="pixels"), "targets must be one of image, grid, but is 'pixels'"),
        (dict(curvature_scale=-1.0), "curvature_scale must not be negative"),
        (dict(fine_channels=-2), "fine_channels must be 0 or positive"),
    ],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        mask_head(**options)
