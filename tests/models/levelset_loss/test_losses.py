import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmlevelset.models.levelset_loss import LevelSetLoss, level_set_energy, losses
from mmlevelset.registry import MODELS
from tests.models.levelset_loss import naive_losses

HEAVISIDES = [("tanh", 0.05), ("tanh", 0.3), ("arctan", 20.0), ("arctan", 0.1), ("step", 0.05)]


def example(batch=2, classes=5, size=(7, 9), scale=2.0, seed=0, dtype=torch.float64):
    """Logits and labels. Some labels are ignored, and some images lack a class."""
    generator = torch.Generator().manual_seed(seed)
    logits = scale * torch.randn(batch, classes, *size, generator=generator, dtype=torch.float64)
    target = torch.randint(classes, (batch, *size), generator=generator)
    target[-1][target[-1] == 1] = 0
    target[torch.rand(target.shape, generator=generator) < 0.2] = 255
    return logits.to(dtype).requires_grad_(), target


def gradient(energy, logits):
    """The gradient of a sum of the energies with different weights."""
    factor = torch.linspace(0.5, 1.5, energy.numel(), dtype=energy.dtype).view_as(energy)
    return torch.autograd.grad((factor * energy).sum(), logits)[0]


def compare(logits, target, *arguments, rtol=1e-9, atol=1e-12, **others):
    got = level_set_energy(logits, target, *arguments, **others)
    wide = logits.detach().double().requires_grad_()
    want = naive_losses.energy(wide, target, *arguments, **others)
    torch.testing.assert_close(got.double(), want, rtol=rtol, atol=atol)
    slopes = gradient(got, logits).double(), gradient(want, wide)
    torch.testing.assert_close(*slopes, rtol=rtol, atol=atol)


# Against the definition


@pytest.mark.parametrize(("kind", "eps"), HEAVISIDES)
@pytest.mark.parametrize(
    "shape", [dict(), dict(batch=1, classes=2), dict(batch=3, classes=21, size=(1, 11))]
)
def test_values_and_gradients_are_the_papers(kind, eps, shape):
    compare(*example(**shape), eps, kind)


@pytest.mark.parametrize("kind", ["tanh", "arctan"])
def test_gradcheck(kind):
    logits, target = example(classes=3, size=(2, 4))
    weight = torch.rand(target.shape, generator=torch.Generator().manual_seed(1))
    for others in (dict(), dict(weight=weight)):
        assert torch.autograd.gradcheck(
            lambda x, others=others: level_set_energy(x, target, 0.2, kind, **others), logits
        )


@pytest.mark.parametrize(("kind", "eps"), HEAVISIDES)
def test_work_in_parts_changes_nothing(kind, eps, monkeypatch):
    logits, target = example(batch=5, classes=4)
    want = level_set_energy(logits, target, eps, kind)
    slope = gradient(want, logits)
    for values, fraction in ((1, 1), (300, 1), (1 << 20, 1)):
        monkeypatch.setattr(losses, "TOGETHER_ON_CPU", values)
        monkeypatch.setattr(losses, "TOGETHER_OF_LOGITS", fraction)
        got = level_set_energy(logits, target, eps, kind)
        torch.testing.assert_close(got, want, rtol=1e-12, atol=0)
        torch.testing.assert_close(gradient(got, logits), slope, rtol=1e-11, atol=1e-14)


@pytest.mark.parametrize(("kind", "eps"), HEAVISIDES)
@pytest.mark.parametrize("scale", [0.01, 1.0, 30.0])
def test_float32_is_precise_on_large_maps(kind, eps, scale):
    logits, target = example(2, 3, (61, 67), scale, dtype=torch.float32)
    got = level_set_energy(logits, target, eps, kind)
    assert got.dtype == torch.float32
    wide = logits.detach().double().requires_grad_()
    want = naive_losses.energy(wide, target, eps, kind)
    torch.testing.assert_close(got.double(), want, rtol=1e-6, atol=1e-4)
    slope = gradient(want, wide)
    error = (gradient(got, logits).double() - slope).norm() / slope.norm()
    # The less H varies, the smaller c1 - c2 is, and the larger its rounding error.
    assert error < 1e-5 * (100 if eps == 20 else 1) * (20 if scale < 1 else 1)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_logits_are_computed_in_float32(dtype):
    logits, target = example(dtype=dtype)
    energy = level_set_energy(logits, target)
    assert energy.dtype == torch.float32
    wide = logits.detach().float().requires_grad_()
    want = level_set_energy(wide, target)
    assert torch.equal(energy, want)
    slope = gradient(energy, logits)
    assert slope.dtype == dtype
    assert torch.equal(slope, gradient(want, wide).to(dtype))


def test_autocast_changes_nothing():
    logits, target = example(dtype=torch.float32)
    want = level_set_energy(logits, target)
    with torch.autocast("cpu", torch.bfloat16):
        got = level_set_energy(logits, target)
        slope = gradient(got, logits)
    assert got.dtype == torch.float32
    assert torch.equal(got, want)
    assert torch.equal(slope, gradient(want, logits))


@pytest.mark.parametrize("layout", ["channels_last", "crop", "expanded", "transposed"])
def test_memory_layout_does_not_matter(layout):
    logits, target = example(2, 4, (6, 6))
    if layout == "expanded":
        logits = logits[:1].detach().expand(2, -1, -1, -1)
    elif layout == "channels_last":
        logits = logits.detach().to(memory_format=torch.channels_last)
    elif layout == "crop":
        logits, target = logits.detach()[:, 1:, 1:, :5], target[:, 1:, :5]
        target = target.where(target < 3, 255)
    else:
        logits, target = logits.detach().transpose(2, 3), target.transpose(1, 2)
    compare(logits.requires_grad_(), target)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32])
def test_labels_of_any_integer_type(dtype):
    logits, target = example()
    assert torch.equal(level_set_energy(logits, target.to(dtype)), level_set_energy(logits, target))


# Values of the energy


def test_known_energies():
    # 2 of 6 pixels have class 1. A sharp prediction of class 1 has one of them and a wrong pixel:
    # A1 = 2, c1 = 1/2, A2 = 4, c2 = 1/4, so the energy is 2/4 + 4 * 3/16 = 5/4. Class 0 is the
    # complement.
    target = torch.tensor([[[0, 0, 0, 0, 1, 1]]])
    predicted = torch.tensor([[[0, 0, 0, 1, 1, 0]]])
    logits = 40.0 * torch.nn.functional.one_hot(predicted, 3).movedim(-1, 1).double()
    for kind in ("tanh", "step"):
        energy = level_set_energy(logits, target, kind=kind)
        torch.testing.assert_close(energy, torch.tensor([[1.25, 1.25, 0]]).double())
    perfect = 40.0 * torch.nn.functional.one_hot(target, 3).movedim(-1, 1).double()
    assert 0 <= level_set_energy(perfect, target).max() < 1e-7
    # A constant prediction has the energy 6 * 1/3 * 2/3, the labels' variance times the area.
    for kind, eps in HEAVISIDES:
        energy = level_set_energy(0 * logits, target, eps, kind)
        torch.testing.assert_close(energy, torch.tensor([[4 / 3, 4 / 3, 0]]).double())


@given(seed=st.integers(0, 1000), scale=st.floats(0, 50), kind=st.sampled_from(HEAVISIDES))
@settings(max_examples=30, deadline=None)
def test_energy_is_at_most_the_variance_of_the_labels(seed, scale, kind):
    logits, target = example(size=(4, 5), scale=scale, seed=seed)
    energy = level_set_energy(logits, target, kind[1], kind[0])
    labelled = (target != 255).sum((1, 2))[:, None]
    count = torch.stack([(target == label).sum((1, 2)) for label in range(5)], 1).double()
    most = torch.where(labelled > 0, count * (labelled - count) / labelled, 0)
    assert (energy >= 0).all() and (energy <= most * (1 + 1e-12) + 1e-12).all()
    assert not energy[count == 0].any()
    assert gradient(energy, logits).isfinite().all()


@given(seed=st.integers(0, 1000))
@settings(max_examples=20, deadline=None)
def test_order_of_pixels_classes_and_images_does_not_matter(seed):
    logits, target = example(3, 4, (4, 5), seed=seed)
    generator = torch.Generator().manual_seed(seed)
    energy = level_set_energy(logits, target)
    slope = gradient(energy, logits)
    pixels = torch.randperm(20, generator=generator)
    classes, images = (torch.randperm(n, generator=generator) for n in (4, 3))
    moved = logits.detach().flatten(2)[:, :, pixels].view_as(logits).requires_grad_()
    got = level_set_energy(moved, target.flatten(1)[:, pixels].view_as(target))
    torch.testing.assert_close(got, energy)
    torch.testing.assert_close(
        gradient(got, moved).flatten(2), slope.flatten(2)[:, :, pixels], atol=1e-12, rtol=1e-9
    )
    rank = torch.cat((classes.argsort(), torch.arange(4, 256)))  # 255 stays 255
    named = level_set_energy(logits[:, classes], rank[target])
    torch.testing.assert_close(named, energy[:, classes])
    torch.testing.assert_close(level_set_energy(logits[images], target[images]), energy[images])


def test_absent_classes_have_no_term_but_a_gradient():
    logits, target = example(1, 4)
    target[target == 3] = 2
    # Five more classes of probability zero do not change the softmax.
    more = torch.cat((logits.detach(), torch.full((1, 5, 7, 9), -1e4).double()), 1)
    more.requires_grad_()
    energy, padded = level_set_energy(logits, target), level_set_energy(more, target)
    torch.testing.assert_close(padded, torch.nn.functional.pad(energy, (0, 5)))
    slope = torch.autograd.grad(energy.sum(), logits)[0]
    wide = torch.autograd.grad(padded.sum(), more)[0]
    torch.testing.assert_close(wide[:, :4], slope)
    assert not wide[:, 4:].any()
    assert energy[0, 3] == 0 and slope[0, 3].any()
    torch.testing.assert_close(slope.sum(1), torch.zeros_like(slope[:, 0]))


def test_ignored_pixels_do_not_count():
    logits, target = example(2, 4, (6, 8))
    target[:, 4:] = 255
    target[:, :, 5:] = 255
    whole = level_set_energy(logits, target)
    slope = gradient(whole, logits)
    inner = logits.detach()[..., :4, :5].requires_grad_()
    part = level_set_energy(inner, target[:, :4, :5])
    torch.testing.assert_close(whole, part)
    torch.testing.assert_close(slope[..., :4, :5], gradient(part, inner))
    assert not slope[..., 4:, :].any() and not slope[..., 5:].any()
    other = level_set_energy(logits, target.where(target != 255, 200), ignore_index=200)
    assert torch.equal(other, whole)
    # ignore_index may be a class.
    none = level_set_energy(logits, target.where(target != 255, 2), ignore_index=2)
    want = level_set_energy(logits, target.where(target != 2, 255))
    assert torch.equal(none, want)


@pytest.mark.parametrize(("kind", "eps"), HEAVISIDES)
def test_nothing_labelled_gives_zero(kind, eps):
    logits, target = example()
    for reduction in losses.REDUCTIONS:
        loss = LevelSetLoss(eps, kind, reduction)(logits, torch.full_like(target, 255))
        assert loss.shape == () and loss == 0
        assert not torch.autograd.grad(loss, logits)[0].any()
    target[0] = 255
    energy = level_set_energy(logits, target, eps, kind)
    assert not energy[0].any() and energy[1].any()


@pytest.mark.parametrize("shape", [(0, 3, 4, 5), (2, 3, 0, 5)])
def test_empty_batch_gives_zero(shape):
    logits = torch.zeros(shape, requires_grad=True)
    target = torch.zeros(shape[0], *shape[2:], dtype=torch.long)
    for reduction in losses.REDUCTIONS:
        loss = LevelSetLoss(reduction=reduction)(logits, target)
        loss.backward()
        assert loss == 0


def test_step_finds_a_class_that_is_never_predicted():
    # The region of class 1 is empty, so its term and its derivative are zero. The outside's term
    # (c2 = 1/6) has the slope -(5/6)^2 at the pixel of class 1, and -(1/6)^2 at the others.
    target = torch.tensor([[[1, 0, 0, 0, 0, 0]]])
    logits = torch.tensor([9.0, -9.0])[None, :, None, None].expand(1, 2, 1, 6).double()
    logits = logits.clone().requires_grad_()
    energy = level_set_energy(logits, target, kind="step")
    torch.testing.assert_close(energy, torch.tensor([[5 / 6, 5 / 6]]).double())
    slope = torch.autograd.grad(energy[0, 1], logits)[0][0, 1, 0]
    assert slope[0] < slope[1] < 0
    torch.testing.assert_close(slope[0] / slope[1], torch.tensor(25.0).double())


def test_step_counts_a_half_as_inside():
    target = torch.tensor([[[0, 1]]])
    energy = level_set_energy(torch.zeros(1, 2, 1, 2), target, kind="step")
    torch.testing.assert_close(energy, torch.tensor([[0.5, 0.5]]))
    logits = torch.tensor([[0.0, -1.0], [0.0, 1.0]])[None, :, None]
    # The region of class 0 is the first pixel, the region of class 1 is both pixels.
    energy = level_set_energy(logits, target, kind="step")
    torch.testing.assert_close(energy, torch.tensor([[0.0, 0.5]]))


# Weights and reductions


def test_weights_of_pixels():
    logits, target = example(1, 3, (4, 5))
    generator = torch.Generator().manual_seed(3)
    weight = torch.rand(target.shape, generator=generator)
    compare(logits, target, weight=weight)
    times = torch.randint(0, 3, target.shape, generator=generator)
    many = times.flatten().repeat_interleave(times.flatten())
    index = torch.arange(20).repeat_interleave(times.flatten())
    assert len(many) == times.sum() > 20 / 2
    repeated = logits.flatten(2)[:, :, None, index], target.flatten(1)[:, None, index]
    for name in losses.REDUCTIONS:
        loss = LevelSetLoss(reduction=name, map_size=None)
        got = loss(logits, target, weight=times), loss(*repeated)
        torch.testing.assert_close(*got)
    ones = torch.ones(target.shape)
    assert torch.equal(
        level_set_energy(logits, target, weight=ones), level_set_energy(logits, target)
    )


def test_reductions():
    logits, target = example(3)
    target[0] = 255
    energy = level_set_energy(logits, target).sum()
    labelled = (target != 255).sum()
    expected = dict(sum=energy, image=energy / 3, pixel=energy / labelled)
    assert set(expected) == set(losses.REDUCTIONS)
    for reduction, want in expected.items():
        loss = LevelSetLoss(reduction=reduction, loss_weight=0.5, map_size=None)
        torch.testing.assert_close(loss(logits, target), want / 2)
        slope = torch.autograd.grad(loss(logits, target), logits)[0]
        again = torch.autograd.grad(want / 2, logits, retain_graph=True)[0]
        torch.testing.assert_close(slope, again)
        assert slope.any()
        other = LevelSetLoss(loss_weight=0.5, map_size=None)
        torch.testing.assert_close(other(logits, target, reduction_override=reduction), want / 2)
    torch.testing.assert_close(LevelSetLoss()(logits, target), 4e-4 * energy * 41 * 41 / (7 * 9))


def maps_at(size: tuple[int, int], align_corners: bool):
    """Smooth logits and their labels, resized to ``size``. A band at the right has no label."""
    logits, _ = example(3, 4, (6, 7), scale=4, seed=5)
    pick = torch.nn.functional.interpolate
    logits = pick(logits.detach(), (41, 49), mode="bicubic", align_corners=align_corners)
    target = example(3, 4, (6, 7), scale=4, seed=6)[0].detach()
    target = pick(target, (41, 49), mode="bicubic", align_corners=align_corners).argmax(1)
    target[..., 42:] = 255
    resized = pick(logits, size, mode="bilinear", align_corners=align_corners)
    rows, columns = (
        (torch.arange(new) + 0.5).mul(old / new).long()
        for old, new in zip((41, 49), size, strict=True)
    )
    return resized, target[:, rows[:, None], columns]


@pytest.mark.parametrize("size", [(41, 49), (82, 98), (164, 147), (97, 203), (321, 321)])
@pytest.mark.parametrize("reduction", losses.REDUCTIONS)
def test_the_size_of_the_maps_does_not_change_the_loss(size, reduction):
    loss = LevelSetLoss(reduction=reduction)
    want, got = loss(*maps_at((41, 49), False)), loss(*maps_at(size, False))
    torch.testing.assert_close(got, want, rtol=0.03, atol=0)
    logits, target = maps_at((41, 49), False)
    exact = logits.repeat_interleave(3, 2).repeat_interleave(2, 3)
    large = target.repeat_interleave(3, 1).repeat_interleave(2, 2)
    torch.testing.assert_close(loss(exact, large), want)


def test_at_41_x_41_the_loss_is_the_papers_sum():
    logits, target = example(2, 4, (41, 41))
    energy = level_set_energy(logits, target).sum()
    torch.testing.assert_close(LevelSetLoss()(logits, target), 4e-4 * energy)
    torch.testing.assert_close(LevelSetLoss(map_size=None)(logits, target), 4e-4 * energy)
    half = LevelSetLoss(map_size=(41, 82), loss_weight=2e-4)
    torch.testing.assert_close(half(logits, target), 4e-4 * energy)


@pytest.mark.parametrize("reduction", ["sum", "image", "pixel"])
def test_the_weight_grows_evenly_in_the_warm_up(reduction, iteration):
    logits, labels = torch.randn(2, 3, 6, 5, requires_grad=True), torch.randint(3, (2, 6, 5))
    full = LevelSetLoss(reduction=reduction)(logits, labels)
    loss = LevelSetLoss(reduction=reduction, warmup_iters=20)
    for done, share in ((0, 0), (5, 0.25), (19, 0.95), (20, 1), (300, 1)):
        iteration(done)
        value = loss(logits, labels)
        torch.testing.assert_close(value, share * full)
        (gradient,) = torch.autograd.grad(value, logits)
        assert gradient.any() == (share > 0)
    iteration(None)
    with pytest.raises(RuntimeError, match="warmup_iters counts iterations of mmengine's runner"):
        loss(logits, labels)
    assert loss.eval()(logits, labels) == full


def test_two_classes_that_change_places_have_the_same_energy():
    """So a large weight can fix the classes the wrong way round, and needs a warm-up."""
    logits, labels = torch.randn(2, 2, 6, 5, dtype=torch.float64), torch.randint(2, (2, 6, 5))
    right, wrong = (level_set_energy(maps, labels) for maps in (logits, logits.flip(1)))
    torch.testing.assert_close(right, wrong)


def test_ignore_index_of_the_call_comes_first():
    logits, target = example()
    loss = LevelSetLoss()
    other = target.where(target != 255, 7)
    assert loss(logits, other, ignore_index=7) == loss(logits, target)
    assert LevelSetLoss(ignore_index=7)(logits, other) == loss(logits, target)


def test_ignored_label_outside_the_labels_type():
    logits, target = example()
    target = target.where(target != 255, 0)
    want = level_set_energy(logits, target)
    got = level_set_energy(logits, target.to(torch.uint8), ignore_index=-1)
    assert torch.equal(got, want)
    with pytest.raises(ValueError, match="or -1 where it is ignored, but has 255"):
        level_set_energy(logits, torch.full_like(target, 255).to(torch.uint8), ignore_index=-1)


def test_gradient_keeps_no_map_of_all_classes():
    logits, target = example(2, 40, (16, 16), dtype=torch.float32)
    saved = []
    with torch.autograd.graph.saved_tensors_hooks(lambda x: saved.append(x) or x, lambda x: x):
        loss = LevelSetLoss()(logits, target)
    kept = [x for x in saved if x.data_ptr() != logits.data_ptr()]
    assert len(kept) < len(saved)
    assert sum(x.nbytes for x in kept) < logits.nbytes / 4
    loss.backward()


def test_second_derivative_is_refused():
    logits, target = example()
    factor = torch.ones((), requires_grad=True)
    loss = factor * LevelSetLoss()(logits, target)
    slope = torch.autograd.grad(loss, logits, create_graph=True)[0]
    with pytest.raises(RuntimeError, match="once_differentiable"):
        slope.square().sum().backward()


def test_built_by_its_name():
    loss = MODELS.build(dict(type="mmlevelset.LevelSetLoss", eps=20, kind="arctan"))
    assert isinstance(loss, LevelSetLoss)
    assert loss.loss_name == "loss_level_set"
    assert "eps=20, kind='arctan', reduction='sum', loss_weight=0.0004, warmup_iters=0" in repr(
        loss
    )
    assert LevelSetLoss(loss_name="loss_ls").loss_name == "loss_ls"


# Errors


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (dict(kind="sigmoid"), "kind must be one of tanh, arctan, step, but is 'sigmoid'"),
        (dict(eps=0), "eps must be positive and finite, but is 0"),
        (dict(eps=float("nan")), "eps must be positive and finite, but is nan"),
        (dict(reduction="mean"), "reduction must be one of sum, image, pixel, but is 'mean'"),
        (dict(warmup_iters=-1), "warmup_iters must be at least 0, but is -1"),
        (dict(warmup_iters="ten"), "warmup_iters must be at least 0, but is 'ten'"),
        (dict(map_size=41), "map_size must be a height and a width .* or None, but is 41"),
        (dict(map_size=(41, 0)), r"map_size must be a height and a width .*, but is \(41, 0\)"),
    ],
)
def test_bad_settings_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        LevelSetLoss(**settings)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (dict(pred=torch.zeros(2, 1, 3, 4)), ValueError, "at least 2 classes.*but has 1: .*sigm"),
        (dict(pred=torch.zeros(24, 3)), ValueError, r"pred must have shape \(B, K, H, W\).*24, 3"),
        (dict(pred=torch.zeros(2, 3, 3, 4).int()), TypeError, "pred must be floating point.*int32"),
        (dict(pred=None), TypeError, "pred must be a tensor, but is NoneType"),
        (dict(target=torch.zeros(2, 1, 3, 4).long()), ValueError, r"target .*\(2, 3, 4\).*1, 3, 4"),
        (dict(target=torch.zeros(2, 3, 5).long()), ValueError, r"target .*\(2, 3, 4\).*2, 3, 5"),
        (dict(target=torch.zeros(2, 3, 4)), TypeError, "target must hold integer.*float32"),
        (dict(target=torch.zeros(2, 3, 4).bool()), TypeError, "target must hold integer.*bool"),
        (dict(target=torch.full((2, 3, 4), 3)), ValueError, "from 0 to 2, or 255 .*but has 3"),
        (dict(target=torch.full((2, 3, 4), -1)), ValueError, "from 0 to 2, or 255 .*but has -1"),
        (dict(target=torch.full((2, 3, 4), 10**12)), ValueError, "but has 1000000000000"),
        (dict(weight=torch.ones(2, 3)), ValueError, r"weight must have shape \(2, 3, 4\)"),
        (dict(weight=2.0), TypeError, "weight must be a tensor, but is float"),
        (dict(reduction_override="none"), ValueError, "reduction_override must be .*pixels have"),
    ],
)
def test_bad_input_is_named(change, error, message):
    good = dict(pred=torch.zeros(2, 3, 3, 4), target=torch.zeros(2, 3, 4).long())
    LevelSetLoss()(**good)
    with pytest.raises(error, match=message):
        LevelSetLoss()(**{**good, **change})
