import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmdet.models.dense_heads import SOLOV2Head

from mmlevelset.datasets.box_masks import box_bitmaps
from mmlevelset.models import common
from mmlevelset.models.box_levelset import head as module
from mmlevelset.models.box_levelset.lab import LabImage
from mmlevelset.models.box_levelset.targets import Boxes, assign_cells
from mmlevelset.models.common import ImageFeatures
from tests.models.box_levelset.builders import (
    BOXES,
    CHANNELS,
    GRIDS,
    SCALES,
    SIZE,
    head_config,
    level_set,
    losses_of,
    make_features,
    make_head,
    make_images,
    make_samples,
)

CONSISTENCY = dict(type="mmlevelset.LocalConsistencyLoss")
REFINEMENT = dict(
    type="mmlevelset.CropRefinement", size=14, feature_channels=2, hidden_channels=2, num_steps=2
)
BOX_LOSSES = {"loss_cls", "loss_projection", "loss_level_set"}


class Poisoned:
    """Masks that raise when they are read."""

    def __init__(self, count):
        self.count = count

    def __len__(self):
        return self.count

    def __getattr__(self, name):
        raise AssertionError(f"masks.{name} was read")

    def __getitem__(self, item):
        raise AssertionError("masks were read")


def positives(boxes=BOXES, inclusive=False):
    samples = make_samples(boxes)
    own = Boxes.of([sample.gt_instances for sample in samples], inclusive)
    return assign_cells(own, len(samples), SIZE, GRIDS, SCALES, 0.2)


@pytest.mark.parametrize("architecture", ["released", "mmdet"])
@pytest.mark.parametrize("mode", ["released", "paper"])
def test_boxes_alone_supervise(architecture, mode):
    head = make_head(
        architecture=architecture,
        loss_level_set=level_set(mode=mode),
        loss_consistency=CONSISTENCY,
    )
    plain = losses_of(head)
    assert set(plain) == BOX_LOSSES | {"loss_consistency"}
    assert all(loss.ndim == 0 and loss > 0 for loss in plain.values())
    poisoned = losses_of(head, masks=[Poisoned(len(own)) for own in BOXES])
    for masks in (poisoned, losses_of(head, masks="ellipses"), losses_of(head, masks="empty")):
        assert masks == plain


def test_losses_follow_the_settings():
    for changes, names in (
        (dict(loss_level_set=None), {"loss_cls", "loss_projection"}),
        (dict(supervision="mask"), {"loss_cls", "loss_mask"}),
        (dict(supervision="mixed"), BOX_LOSSES | {"loss_mask"}),
        (dict(supervision="mixed", loss_level_set=None), BOX_LOSSES - {"loss_level_set"}
         | {"loss_mask"}),
    ):  # fmt: skip
        head = make_head(**changes)
        assert set(losses_of(head, masks="ellipses")) == names
    assert make_head(supervision="mask", loss_consistency=CONSISTENCY).loss_consistency is None
    off = dict(CONSISTENCY, loss_weight=0.0)
    assert set(losses_of(make_head(loss_consistency=off), masks="ellipses")) == BOX_LOSSES


def test_mixed_supervision_uses_the_masks_there_are():
    by_mask = losses_of(make_head(supervision="mask"), masks="ellipses")
    by_box = losses_of(make_head(), masks="ellipses")
    head = make_head(supervision="mixed")
    assert "loss_mask" not in by_box

    every = losses_of(head, masks="ellipses")
    torch.testing.assert_close(every["loss_mask"], by_mask["loss_mask"])
    torch.testing.assert_close(every["loss_cls"], by_mask["loss_cls"])
    assert every["loss_projection"] == every["loss_level_set"] == 0

    none = losses_of(head, masks="empty")
    assert none.pop("loss_mask") == 0
    for name, loss in by_box.items():
        torch.testing.assert_close(none[name], loss)

    # Every instance is learned once, by its mask or by its box.
    some = losses_of(head, masks="some")
    assert 0 < some["loss_mask"] < by_mask["loss_mask"]
    assert 0 < some["loss_projection"] < by_box["loss_projection"]
    assert 0 < some["loss_level_set"] < by_box["loss_level_set"]


def test_mixed_losses_of_some_masks_add_up():
    """Each instance has its own image, so that the sums can be taken apart."""
    first, second = (8, 4, 40, 36), (30, 20, 94, 60)
    head = make_head(supervision="mixed")
    features, images = make_features(), make_images()
    samples = make_samples([[first], [second]], "ellipses")
    samples[1].gt_instances.masks.masks[:] = 0
    both = head.loss(ImageFeatures(features, images), samples)
    count = [len(positives([[first], []]).cell), len(positives([[], [second]]).cell)]
    alone = []
    for number in (0, 1):
        own = slice(number, number + 1)
        x = ImageFeatures([level[own] for level in features], images[own])
        alone.append(head.loss(x, samples[own]))
    for name, number in (("loss_mask", 0), ("loss_projection", 1), ("loss_level_set", 1)):
        want = alone[number][name] * count[number] / sum(count)
        torch.testing.assert_close(both[name], want)


def test_dice_of_known_masks():
    head = make_head(supervision="mask", architecture="mmdet")
    features, samples = make_features(), make_samples(masks="ellipses")
    kernels, _, mask_feats = head(features)
    total = 0.0
    found = positives()
    boxes = torch.cat([sample.gt_instances.bboxes for sample in samples])
    masks = [m for sample in samples for m in sample.gt_instances.masks.masks]
    cells = torch.cat([level.flatten(2) for level in kernels], 2)  # (B, C, N)
    for cell, box in zip(found.cell.tolist(), found.box.tolist(), strict=True):
        image, cell = divmod(cell, cells.shape[2])
        score = torch.einsum("c,chw->hw", cells[image, :, cell], mask_feats[image]).sigmoid()
        # At a quarter, the centre of a cell lies between four pixels.
        full = torch.from_numpy(masks[box]).float()
        corners = [full[1 + i :: 4, 1 + j :: 4] for i in (0, 1) for j in (0, 1)]
        truth = (sum(corners) / 4 >= 0.5).float()
        overlap = 2 * (score * truth).sum()
        total += 3 * (1 - overlap / (score.square().sum() + truth.square().sum() + 2e-3))
    assert len(boxes) == len(masks)
    loss = head.loss(ImageFeatures(features, make_images()), samples)["loss_mask"]
    torch.testing.assert_close(loss, total / len(found.cell))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        dict(loss_consistency=CONSISTENCY),
        dict(loss_level_set=None),
        dict(loss_level_set=level_set(mode="paper")),
        dict(loss_level_set=level_set(domain="image", length_weight=1e-2)),
        dict(supervision="mask"),
        dict(supervision="mixed"),
        dict(supervision="mixed", loss_level_set=level_set(mode="paper")),
        dict(architecture="mmdet"),
        dict(warmup_iters=10),
    ],
    ids=str,
)
@pytest.mark.parametrize("batch", ["no objects", "too small", "one image empty", "objects"])
def test_every_parameter_has_a_gradient(changes, batch, iteration):
    iteration(0)
    boxes = {
        "no objects": [[], []],
        "too small": [[(10, 10, 12.5, 12.5)], [(3, 3, 90, 3.05)]],
        "one image empty": [[], BOXES[1]],
        "objects": BOXES,
    }[batch]
    head = make_head(**changes)
    masks = "ellipses" if "supervision" in changes else None
    losses = losses_of(head, boxes=boxes, masks=masks)
    masked = [loss for name, loss in losses.items() if name != "loss_cls"]
    assert losses["loss_cls"] > 0
    if batch in ("no objects", "too small"):
        assert all(loss == 0 for loss in masked)
    else:
        assert any(loss > 0 for loss in masked)
    sum(losses.values()).backward()
    for name, parameter in head.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
    if batch in ("no objects", "too small"):
        assert not head.conv_kernel.weight.grad.any()


@pytest.mark.parametrize("name", ["loss_projection", "loss_level_set", "loss_consistency"])
def test_each_box_loss_alone_keeps_all_parameters_of_the_masks_alive(name):
    # If a loss left out the sums of an empty batch, parameters would have no gradient.
    head = make_head(loss_consistency=CONSISTENCY)
    losses_of(head, boxes=[[], []])[name].backward()
    for parameter in (*head.mask_feature_head.parameters(), *head.kernel_convs.parameters()):
        assert parameter.grad is not None


def test_warm_up_is_projection_alone(iteration):
    head = make_head(warmup_iters=5, loss_consistency=CONSISTENCY)
    usual = losses_of(make_head(loss_consistency=CONSISTENCY))
    for now in (0, 4):
        iteration(now)
        losses = losses_of(head)
        assert losses["loss_level_set"] == losses["loss_consistency"] == 0
        assert losses["loss_projection"] == usual["loss_projection"]
    iteration(5)
    assert losses_of(head) == usual


def test_masks_are_learned_in_warm_up(iteration):
    iteration(0)
    head = make_head(warmup_iters=5, supervision="mixed")
    usual = losses_of(make_head(supervision="mixed"), masks="some")
    losses = losses_of(head, masks="some")
    assert losses["loss_mask"] == usual["loss_mask"] > 0
    assert losses["loss_projection"] == usual["loss_projection"] > 0


def test_positives_are_averaged_over_ranks(monkeypatch):
    head = make_head(supervision="mixed")
    alone = losses_of(head, masks="some")
    count = len(positives().cell)
    asked = []

    def reduce_by(function):
        for owner in (module, common):
            monkeypatch.setattr(owner, "reduce_mean", function)

    def thrice(tensor):
        asked.append(tensor.tolist())
        return 3 * tensor

    reduce_by(thrice)
    together = losses_of(head, masks="some")
    assert asked == [count, [count] * 3]  # the classes; and the three losses of masks
    for name, loss in alone.items():
        factor = (count + 1) / (3 * count + 1) if name == "loss_cls" else 1 / 3
        torch.testing.assert_close(together[name], factor * loss)
    # A rank without objects takes part if other ranks have objects.
    assert losses_of(head, boxes=[[], []], masks="ellipses")["loss_projection"] == 0
    assert asked[2:] == [0, [0] * 3]
    # With more ranks than positives, the mean is less than one.
    reduce_by(lambda tensor: tensor / (2 * count))
    torch.testing.assert_close(
        losses_of(head, masks="some")["loss_projection"], alone["loss_projection"] * count * 2
    )


def test_mmdet_architecture_is_solov2():
    ours = make_head(architecture="mmdet")
    config = head_config()
    config.pop("type")
    theirs = SOLOV2Head(**config, loss_mask=dict(type="DiceLoss", use_sigmoid=True))
    weights = ours.state_dict()
    own = {name for name in weights if name.startswith("loss_level_set.")}
    assert own == {"loss_level_set.feature_conv.weight", "loss_level_set.feature_conv.bias"}
    theirs.load_state_dict({name: weights[name] for name in weights.keys() - own}, strict=True)
    for one, other in zip(ours(make_features()), theirs(make_features()), strict=True):
        assert len(one) == len(other)
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_classes_are_learned_as_in_solov2():
    """Rectangles have their box's centre of mass; these share no cell."""
    boxes = [[(8, 4, 40, 36), (56, 28, 88, 60)], [(48, 8, 64, 24)]]
    head = make_head(architecture="mmdet")
    config = head_config()
    config.pop("type")
    theirs = SOLOV2Head(**config, loss_mask=dict(type="DiceLoss", use_sigmoid=True))
    theirs.load_state_dict(head.state_dict(), strict=False)
    samples = make_samples(boxes, "empty")
    for sample in samples:
        truth = sample.gt_instances
        for mask, (x1, y1, x2, y2) in zip(truth.masks.masks, truth.bboxes.int(), strict=True):
            mask[y1:y2, x1:x2] = 1
    ours = head.loss(ImageFeatures(make_features(), make_images()), samples)
    found = theirs.loss(list(make_features()), samples)
    # SOLOv2 counts each coordinate of its positives; here each has one.
    torch.testing.assert_close(ours["loss_cls"], found["loss_cls"])


@pytest.mark.parametrize(
    ("size", "released"),
    [
        ((64, 96), [(16, 24), (16, 24), (8, 12), (4, 6), (4, 6)]),
        ((96, 32), [(24, 8), (24, 8), (12, 4), (6, 2), (6, 2)]),
        ((32, 160), [(8, 40), (8, 40), (4, 20), (2, 10), (2, 10)]),
    ],
)
def test_resolutions_of_the_masks(size, released):
    features = make_features(1, size)
    assert make_head().mask_sizes(features) == released
    quarter = (size[0] // 4, size[1] // 4)
    assert make_head(architecture="mmdet").mask_sizes(features) == [quarter] * 5


def test_released_resolutions_of_odd_features():
    features = [torch.zeros(1, CHANNELS, *s) for s in ((25, 15), (13, 8), (7, 5), (3, 3), (2, 1))]
    sizes = make_head().mask_sizes(features)
    assert sizes == [(24, 14), (26, 16), (14, 10), (6, 6), (6, 6)]
    # As SOLO resizes the features of the first and the last level:
    resized = make_head().resize_feats(features)
    assert [tuple(2 * side for side in level.shape[2:]) for level in resized] == sizes


@pytest.mark.parametrize("size", [(64, 96), (32, 160)])
def test_odd_sizes_train(size):
    boxes = [[(4, 2, 28, 30)], [(10, 4, 26, 28)]]
    losses = losses_of(make_head(loss_consistency=CONSISTENCY), boxes=boxes, size=size)
    sum(losses.values()).backward()
    assert all(loss.isfinite() and loss > 0 for loss in losses.values())


def test_box_masks_fit_where_rows_and_columns_shrink_unlike():
    """Mask features to a sixteenth only: images of 48 rows have levels of 3 and 2 rows."""
    features = dict(head_config()["mask_feature_head"], end_level=2)
    ranges = ((900, 999), (900, 999), (900, 999), (1, 400), (900, 999))
    head = make_head(mask_feature_head=features, scale_ranges=ranges, num_grids=[1] * 5)
    size = (48, 64)
    feats = make_features(1, size)
    assert head.mask_sizes(feats)[3] == (4, 4)
    seen = []
    head.loss_projection.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[1]))
    samples = make_samples([[(16, 24, 48, 48)]], size=size)
    head.loss(ImageFeatures(feats, make_images(1, size)), samples)
    want = torch.zeros(4, 4, dtype=torch.bool)
    want[2:, 1:3] = True  # rows of 12 pixels, columns of 16
    assert torch.equal(seen[0][0], want)


def constructed(head, size, box, shift=(0, 0), stretch=20.0):
    """Predictions with the moved box as the mask of every cell; cells have four pixels."""
    x1, y1, x2, y2 = (edge // 4 for edge in box)
    mask = torch.full((size[0] // 4, size[1] // 4), -stretch)
    mask[y1 : y2, x1 : x2] = stretch  # fmt: skip
    mask = mask.roll(shift, (0, 1))
    mask_feats = torch.zeros(1, CHANNELS, *mask.shape)
    mask_feats[0, 0] = mask
    kernels = [torch.zeros(1, CHANNELS, grid, grid) for grid in head.num_grids]
    for level in kernels:
        level[:, 0] = 1
    scores = [torch.full((1, 3, grid, grid), -9.0) for grid in head.num_grids]
    return kernels, scores, mask_feats


@pytest.mark.parametrize("architecture", ["released", "mmdet"])
def test_losses_are_least_in_the_right_place(architecture):
    size, box = (128, 192), (64, 32, 128, 96)
    image = torch.zeros(1, 3, *size)
    image[..., 32:96, 64:128] = 1
    settings = dict(
        architecture=architecture,
        scale_ranges=((32, 999),) * 5,
        loss_level_set=level_set(image_weight=1.0, feature_weight=0.0, domain="image"),
    )
    head = make_head(**settings)
    samples = make_samples([[box]], size=size)
    metas = [sample.metainfo for sample in samples]
    truth = [sample.gt_instances for sample in samples]
    sizes = head.mask_sizes(make_features(1, size))

    def at(shift):
        predictions = constructed(head, size, box, shift)
        return head.loss_by_feat(*predictions, sizes, truth, metas, image)

    right = at((0, 0))
    assert right["loss_projection"] < 1e-4
    assert right["loss_level_set"] < 1e-4
    for axis in (0, 1):
        losses = [at(tuple(step * (axis == a) for a in (0, 1))) for step in (-1, 1)]
        for name in ("loss_projection", "loss_level_set"):
            before, after = (loss[name] for loss in losses)
            assert before > 1e-3
            torch.testing.assert_close(before, after)  # no shift by half a cell


def test_levels_of_the_whole_image_leave_the_padding_out():
    seen = []
    head = make_head(loss_level_set=level_set(domain="image"))
    head.loss_level_set.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    losses_of(head, img_shape=(40, 64))
    assert {masks.scores.shape[1:] for masks in seen} == {(16, 24), (8, 12), (4, 6)}
    for masks in seen:
        height, width = masks.scores.shape[1:]
        want = torch.zeros(height, width, dtype=torch.bool)
        rows = {16: 10, 8: 5, 4: 2}[height]  # 2.5 to 2
        want[:rows, : width * 64 // 96] = True
        assert all(torch.equal(domain, want) for domain in masks.domain)
    seen.clear()
    head.loss_level_set.domain = "box"
    losses_of(head)
    assert all(0 < domain.float().mean() < 1 for masks in seen for domain in masks.domain)


def test_at_most_six_trees_an_image(monkeypatch):
    from mmlevelset.models.box_levelset import level_set_loss

    made = []
    build = level_set_loss.minimum_spanning_tree
    monkeypatch.setattr(
        level_set_loss,
        "minimum_spanning_tree",
        lambda guide: (made.append(guide.shape), build(guide))[1],
    )
    losses_of(make_head())
    assert len(positives().cell) > 12 and 0 < len(made) <= 6 * 2


def test_inclusive_boxes_are_those_of_the_masks():
    boxes = [[(8.4, 4.4, 38.6, 34.6)], [(50.3, 6.2, 64.8, 18.7)]]
    rounded = [[(8, 4, 40, 36)], [(50, 6, 66, 20)]]
    masks = [box_bitmaps(np.array(own), *SIZE) for own in boxes]
    cells = dict(num_grids=[1] * 5, scale_ranges=((1, 400),) * 5)  # the same of both
    inclusive = losses_of(make_head(inclusive_boxes=True, **cells), boxes=boxes, masks=masks)
    exclusive = losses_of(make_head(**cells), boxes=rounded)
    for name in ("loss_projection", "loss_level_set"):
        torch.testing.assert_close(inclusive[name], exclusive[name])
    as_they_are = losses_of(make_head(**cells), boxes=boxes)
    assert as_they_are["loss_projection"] != exclusive["loss_projection"]


def test_consistency_is_a_mean_over_the_pixels_of_all_boxes():
    """Of both images and of all resolutions, whatever the number of positives of a box."""
    settings = dict(loss_level_set=None, loss_consistency=CONSISTENCY, refinement=REFINEMENT)
    head = make_head(**settings)
    seen, pixels = [], []

    def note(_, inputs, output):
        seen.append(output.sum())
        pixels.append(inputs[1].sum())

    head.loss_consistency.register_forward_hook(note)
    losses = losses_of(head)
    assert len({int(own) for own in pixels}) > 2
    for stage, suffix in enumerate(("", "_refined")):
        want = sum(seen[stage::2]) / sum(pixels[stage::2])
        torch.testing.assert_close(losses[f"loss_consistency{suffix}"], want)


def test_lab_is_the_image_of_the_energy():
    """The head undoes the normalisation, leaves out the padding, and keeps the trees."""
    mean, std = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
    settings = dict(image_mean=mean, image_std=std)
    heads = [
        make_head(loss_level_set=level_set(image_space=space, feature_weight=weight), **settings)
        for space in ("rgb", "lab")
        for weight in (0.0, 5.0)
    ]
    shape = (60, 80)
    images = make_images()
    images[:, :, shape[0] :] = images[:, :, :, shape[1] :] = 0
    seen = []
    heads[3].loss_level_set.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    rgb, rgb_both, lab, both = (
        head.loss(ImageFeatures(make_features(), images), make_samples(img_shape=shape))[
            "loss_level_set"
        ]
        for head in heads
    )
    assert lab != rgb
    # A convolution guides the second tree; its weights do not depend on the space.
    torch.testing.assert_close(both - lab, rgb_both - rgb, rtol=1e-3, atol=1e-5)
    undo = LabImage(mean, std)
    for masks in seen:
        rows, columns = (round(side * now / whole) for side, now, whole in zip(
            shape, masks.image.shape[1:], SIZE, strict=True))  # fmt: skip
        torch.testing.assert_close(masks.lab, undo(masks.image, rows, columns))
    with pytest.raises(ValueError, match="image_mean must be three numbers"):
        make_head(loss_level_set=level_set(image_space="lab"))


@pytest.mark.parametrize("mode", ["released", "paper"])
@pytest.mark.parametrize("supervision", ["box", "mixed"])
def test_autocast_is_finite(mode, supervision):
    settings = dict(supervision=supervision, loss_level_set=level_set(mode=mode))
    head = make_head(**settings, loss_consistency=CONSISTENCY)
    masks = None if supervision == "box" else "some"
    exact = losses_of(head, masks=masks)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        losses = losses_of(head, masks=masks)
    sum(losses.values()).backward()
    for name, loss in losses.items():
        assert loss.dtype == torch.float32 and loss.isfinite()
        assert math.isclose(loss.item(), exact[name].item(), rel_tol=0.1), name
    assert all(parameter.grad.isfinite().all() for parameter in head.parameters())


def test_released_layers():
    head = make_head()
    assert head.conv_kernel.kernel_size == (1, 1)
    layers = dict(head.mask_feature_head.named_parameters())
    assert [name for name in layers if not name.endswith("weight")] == ["conv_pred.bias"]
    assert all(layer.ndim == 4 for name, layer in layers.items() if name != "conv_pred.bias")
    assert (head.mask_feature_head(make_features()) < 0).any()


def test_masks_are_products_of_kernels_and_features():
    head = make_head()
    seen = []
    head.loss_projection.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    features = make_features()
    head.loss(ImageFeatures(features, make_images()), make_samples())
    kernels, _, mask_feats = head(features)
    found, sizes = positives(), head.mask_sizes(features)
    cells = torch.cat([level.flatten(2) for level in kernels], 2)
    want = []
    for cell, level in zip(found.cell.tolist(), found.level.tolist(), strict=True):
        image, cell = divmod(cell, cells.shape[2])
        mask = (cells[image, :, cell, None, None] * mask_feats[image]).sum(0)
        mask = F.interpolate(mask[None, None], sizes[level], mode="bilinear")[0, 0].sigmoid()
        want.append((image, -sizes[level][0], mask))
    want.sort(key=lambda entry: entry[:2])
    got = [mask for group in seen for mask in group]
    assert len(got) == len(want)
    for mask, (_, _, expected) in zip(got, want, strict=True):
        torch.testing.assert_close(mask, expected)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(architecture="solo"), "architecture must be one of released, mmdet, but is 'solo'"),
        (dict(supervision="points"), "supervision must be one of box, mask, mixed, but is 'poin"),
        (dict(warmup_iters=-1), "warmup_iters must be at least 0, but is -1"),
        (
            dict(inclusive_boxes=True, supervision="mixed"),
            "inclusive_boxes must be False with supervision='mixed'",
        ),
        (dict(dynamic_conv_size=3), "dynamic_conv_size must be 1, but is 3"),
    ],
)
def test_bad_settings_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        make_head(**changes)


def test_released_mask_features_have_no_norm():
    features = dict(**head_config()["mask_feature_head"], norm_cfg=dict(type="GN", num_groups=2))
    with pytest.raises(ValueError, match="mask_feature_head.norm_cfg must be None"):
        make_head(mask_feature_head=features)
    make_head(mask_feature_head=features, architecture="mmdet")
