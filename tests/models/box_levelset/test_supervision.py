"""BoxSupervision for any head: against its losses alone, and for batches of every kind."""

import pytest
import torch
import torch.nn.functional as F
from mmengine.structures import InstanceData

from mmlevelset.models import common
from mmlevelset.models.box_levelset.lab import rgb_to_lab
from mmlevelset.models.box_levelset.level_set_loss import Masks
from mmlevelset.models.box_levelset.targets import box_masks
from mmlevelset.registry import MODELS
from tests.models.box_levelset import naive
from tests.models.box_levelset.builders import SIZE, level_set

SCALE = dict(image_mean=(123.675, 116.28, 103.53), image_std=(58.395, 57.12, 57.375))
CONSISTENCY = dict(type="mmlevelset.LocalConsistencyLoss")
PAIRWISE = dict(type="mmlevelset.BoxPairwiseLoss", warmup_iters=0)
ALL = dict(**SCALE, loss_consistency=CONSISTENCY, loss_pairwise=PAIRWISE)
BOXES = torch.tensor([[8.0, 4, 40, 36], [30, 20, 94, 60]])
META = dict(img_shape=SIZE)
NAMES = ["loss_projection", "loss_level_set", "loss_consistency", "loss_pairwise"]


def make(**settings):
    torch.manual_seed(0)
    return MODELS.build(dict(type="mmlevelset.BoxSupervision", in_channels=4) | settings)


def maps(masks=(3, 1), seed=1):
    """Logits at a quarter, their objects, images, features."""
    generator = torch.Generator().manual_seed(seed)
    quarter = [side // 4 for side in SIZE]
    logits = [torch.randn(k, *quarter, generator=generator).requires_grad_() for k in masks]
    objects = [torch.arange(k) % 2 for k in masks]
    images = torch.randn(len(masks), 3, *SIZE, generator=generator)
    features = torch.randn(len(masks), 4, *quarter, generator=generator).requires_grad_()
    return logits, objects, images, features


def truths(count=2, masks=None):
    """``masks``: none, or the objects that have one; the mask is the left half of the box."""
    found = []
    for _ in range(count):
        truth = InstanceData(bboxes=BOXES.clone(), labels=torch.zeros(2, dtype=torch.long))
        if masks is not None:
            truth.masks = torch.zeros(2, *SIZE, dtype=torch.bool)
            for number in masks:
                x1, y1, x2, y2 = BOXES[number].int().tolist()
                truth.masks[number, y1:y2, x1 : (x1 + x2) // 2] = True
        found.append(truth)
    return found


def losses_of(supervision, given=None, truth=None):
    logits, objects, images, features = given or maps()
    truth = truths(len(logits)) if truth is None else truth
    return supervision(logits, objects, truth, [META] * len(logits), images, features)


def test_losses_are_means_over_the_masks_the_pixels_and_the_edges():
    supervision = make(**ALL)
    given = logits, objects, images, features = maps()
    losses = losses_of(supervision, given)
    assert list(losses) == NAMES
    sums = dict.fromkeys(NAMES, 0.0)
    pixels = edges = 0
    mean, std = (torch.tensor(SCALE[name])[:, None, None] for name in ("image_mean", "image_std"))
    deep = supervision.loss_level_set.deep_features(features)
    for own, belongs, image, guide in zip(logits, objects, images, deep, strict=True):
        inside = box_masks(BOXES[belongs], own.shape[1:], SIZE)
        small = F.interpolate(image[None], own.shape[1:], mode="bilinear")[0]
        scores = own.sigmoid()
        sums["loss_projection"] += supervision.loss_projection(scores, inside).sum()
        sums["loss_level_set"] += supervision.loss_level_set(
            Masks(scores, inside, small, guide)
        ).sum()
        sums["loss_consistency"] += supervision.loss_consistency(scores, inside, small).sum()
        average = F.avg_pool2d(image * std + mean, 4)
        loss, count = naive.pairwise(scores.double(), inside, rgb_to_lab(average).double())
        sums["loss_pairwise"] += loss.sum()
        pixels, edges = pixels + inside.sum(), edges + count.sum()
    divisors = (4, 4, pixels, edges)
    for name, divisor in zip(NAMES, divisors, strict=True):
        torch.testing.assert_close(losses[name], sums[name] / divisor, check_dtype=False)


def test_each_mask_is_learned_by_its_own_mask_or_its_own_box():
    """The losses of each mask of a mixed image are those of the mask alone."""
    supervision = make(supervision="mixed", **ALL)
    (logits,), (objects,), images, features = maps((4,))
    (truth,) = truths(1, masks=[1])
    deep = supervision.deep_features(features)[0]
    masks = supervision.true_masks(truth, images[0])
    found = supervision.of_image(logits, BOXES, images[0], deep, SIZE, objects, masks)
    for number, belongs in enumerate(objects.tolist()):
        one = supervision.of_image(
            logits[number : number + 1],
            BOXES[belongs : belongs + 1],
            images[0],
            deep,
            SIZE,
            masks=masks[belongs : belongs + 1],
        )
        for name in supervision.names:
            torch.testing.assert_close(found.values[name][number], one.values[name][0])
            assert (found.values[name][number] > 0) == ((name == "loss_mask") == (belongs == 1))
            assert found.counts[name][number] == one.counts[name][0]
        assert found.counts["loss_projection"][number] == found.counts["loss_mask"][number] == 1
        assert (found.counts["loss_pairwise"][number] > 0) == (belongs == 0)
    part = found.part(slice(1, 3))
    assert torch.equal(part.values["loss_mask"], found.values["loss_mask"][1:3])


@pytest.mark.parametrize("supervision", ["box", "mask", "mixed"])
@pytest.mark.parametrize("mode", ["released", "paper"])
@pytest.mark.parametrize("kind", ["no masks", "one image empty", "masks", "extreme"])
def test_losses_and_gradients_are_finite(supervision, mode, kind):
    energy = level_set(mode=mode, detach_features=False, filter_size=(12, 10))
    module = make(supervision=supervision, loss_level_set=energy, **ALL)
    given = logits, _, _, features = maps(
        {"no masks": (0, 0), "one image empty": (0, 2)}.get(kind, (3, 1))
    )
    if kind == "extreme":
        with torch.no_grad():
            for own in logits:
                own.mul_(1e20)
    losses = losses_of(module, given, truths(masks=[0]))
    assert list(losses) == module.names
    assert all(loss.isfinite() and loss.dtype == torch.float32 for loss in losses.values())
    if kind == "no masks":
        assert not any(losses.values())
    sum(losses.values()).backward()
    leaves = [*logits, *module.parameters()]
    if supervision != "mask":
        leaves.append(features)
    for leaf in leaves:
        assert leaf.grad is not None and leaf.grad.isfinite().all()


def test_half_precision_is_computed_in_float32():
    module = make(**ALL)
    logits, objects, images, features = maps()
    exact = losses_of(module)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = [own.bfloat16() for own in logits]
        found = losses_of(module, (half, objects, images, features.bfloat16()))
    for name, loss in found.items():
        assert loss.dtype == torch.float32
        torch.testing.assert_close(loss, exact[name], rtol=0.05, atol=1e-3)


def test_bgr_images_have_the_colours_of_rgb_images():
    lab = dict(loss_level_set=level_set(image_space="lab", feature_weight=0.0))
    rgb = make(**ALL | lab)
    turned = {name: values[::-1] for name, values in SCALE.items()}
    bgr = make(**ALL | lab | turned, image_bgr=True)
    logits, objects, images, features = maps()
    want = losses_of(rgb, (logits, objects, images, features))
    found = losses_of(bgr, (logits, objects, images.flip(1), features))
    for name, loss in want.items():
        torch.testing.assert_close(found[name], loss)


def test_the_projection_is_alone_in_the_warm_up_and_the_pairs_begin_gently(iteration):
    settings = ALL | dict(loss_pairwise=PAIRWISE | dict(warmup_iters=20))
    module, usual = make(warmup_iters=5, **settings), losses_of(make(**ALL))
    for now in (0, 4, 5, 10, 20, 30):
        iteration(now)
        losses = losses_of(module)
        assert losses["loss_projection"] == usual["loss_projection"]
        for name in NAMES[1:]:
            part = min(now / 20, 1) if name == "loss_pairwise" else 1
            want = 0 * usual[name] if now < 5 else part * usual[name]
            torch.testing.assert_close(losses[name], want)


@pytest.mark.parametrize(
    "settings", [dict(warmup_iters=5), dict(loss_pairwise=PAIRWISE | dict(warmup_iters=20))]
)
def test_a_warm_up_without_a_runner_is_an_error(settings, iteration):
    iteration(None)
    with pytest.raises(RuntimeError, match="warmup_iters counts iterations of mmengine's runner"):
        losses_of(make(**ALL | settings))


def test_all_processes_take_part_in_the_means(monkeypatch):
    module = make(supervision="mixed", **ALL)
    truth = truths(masks=[0])
    alone = losses_of(module, truth=truth)
    monkeypatch.setattr(common, "reduce_mean", lambda counts: 3 * counts)
    for name, loss in losses_of(module, truth=truth).items():
        torch.testing.assert_close(loss, alone[name] / 3)
    empty = losses_of(module, maps((0, 0)), truth)
    assert not any(empty.values())


def test_filters_on_small_maps_have_the_size_of_the_masks():
    """Where the image is constant, all trees average the map that they filter."""
    whole, small = (
        make(loss_level_set=level_set(filter_size=size, feature_weight=5.0))
        for size in (None, (6, 8))
    )
    logits, objects, images, features = maps()
    own = (logits, objects, images, features)
    assert losses_of(whole, own)["loss_level_set"] != losses_of(small, own)["loss_level_set"]
    flat = (logits, objects, torch.zeros_like(images), torch.zeros_like(features))
    torch.testing.assert_close(
        losses_of(whole, flat)["loss_level_set"], losses_of(small, flat)["loss_level_set"]
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (dict(supervision="points"), "supervision must be one of box, mask, mixed, but is 'point"),
        (dict(warmup_iters=-1), "warmup_iters must be at least 0, but is -1"),
        (dict(warmup_iters="5"), "warmup_iters must be at least 0, but is '5'"),
        (dict(warmup_iters=None), "warmup_iters must be at least 0, but is None"),
        (
            dict(supervision="mixed", loss_mask=None),
            "loss_mask must be given with supervision='mixed'",
        ),
        (dict(loss_pairwise=PAIRWISE), "image_mean must be three numbers for a loss of L"),
        (
            dict(loss_level_set=level_set(filter_size=(96,))),
            r"filter_size must be two whole numbers of at least 2, but is \(96,\)",
        ),
        (
            dict(loss_consistency=CONSISTENCY | dict(size=(0, 5))),
            r"size must be two whole numbers of at least 2, but is \(0, 5\)",
        ),
    ],
)
def test_bad_settings_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        make(**settings)


def test_what_is_missing_is_named():
    logits, objects, images, features = maps()
    with pytest.raises(ValueError, match=r"features must be a map \(B, C, h, w\)"):
        losses_of(make(), (logits, objects, images, None))
    with pytest.raises(ValueError, match="the objects must have masks with supervision='mixed'"):
        losses_of(make(supervision="mixed"))
    with pytest.raises(ValueError, match="in_channels must be the channels of the features"):
        make(in_channels=None)
    assert make(in_channels=None, loss_level_set=level_set(feature_weight=0.0)).loss_level_set
    with pytest.raises(ValueError, match=r"objects must have shape \(3\), but has \(2,\)"):
        losses_of(make(), (logits, [objects[0][:2], objects[1]], images, features))
    projection = make(loss_level_set=None, loss_mask=None)
    assert list(losses_of(projection, (logits, objects, images, None))) == ["loss_projection"]
