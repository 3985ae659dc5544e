import numpy as np
import pytest
import torch
from mmdet.structures.mask import BitmapMasks

from mmlevelset.models.box_levelset import BoxLevelSet
from tests.models.box_levelset.builders import (
    BOXES,
    CHANNELS,
    SIZE,
    level_set,
    losses_of,
    make_detector,
    make_head,
    make_images,
    make_samples,
)

METAS = dict(img_shape=SIZE, ori_shape=SIZE, batch_input_shape=SIZE, scale_factor=(1.0, 1.0))


def rectangles(head, boxes, size=SIZE, cells=((0, 1, 1), (1, 2, 2), (0, 3, 3))):
    """Predictions of one box for each (level, row, column), on quarters of the image."""
    mask_feats = torch.zeros(1, CHANNELS, size[0] // 4, size[1] // 4)
    kernels = [torch.zeros(1, CHANNELS, grid, grid) for grid in head.num_grids]
    scores = [torch.full((1, 3, grid, grid), -20.0) for grid in head.num_grids]
    for number, (x1, y1, x2, y2) in enumerate(boxes):
        level, row, column = cells[number]
        mask_feats[0, number] = -20
        mask_feats[0, number, y1 // 4 : y2 // 4, x1 // 4 : x2 // 4] = 20
        kernels[level][0, number, row, column] = 1
        scores[level][0, number, row, column] = 4 - number
    return kernels, scores, mask_feats


@pytest.mark.parametrize("architecture", ["released", "mmdet"])
def test_rectangles_are_predicted_in_their_place(architecture):
    boxes = [(8, 4, 40, 36), (48, 20, 96, 64), (0, 44, 28, 64)]
    head = make_head(architecture=architecture)
    (found,) = head.predict_by_feat(*rectangles(head, boxes), [METAS])
    assert found.masks.dtype == torch.bool and found.masks.shape == (3, *SIZE)
    for mask, (x1, y1, x2, y2) in zip(found.masks, boxes, strict=True):
        want = torch.zeros(SIZE, dtype=torch.bool)
        want[y1:y2, x1:x2] = True
        unlike = (mask != want).nonzero().tolist()  # interpolation rounds the corners
        assert all(row in (y1, y2 - 1) and column in (x1, x2 - 1) for row, column in unlike)
    assert found.bboxes.tolist() == [list(map(float, box)) for box in boxes]
    assert found.labels.tolist() == [0, 1, 2] and found.labels.dtype == torch.int64
    torch.testing.assert_close(found.scores, torch.tensor([4.0, 3.0, 2.0]).sigmoid())


def test_padding_and_scale_are_undone():
    """An image of half the size, enlarged to 40 x 64 and padded."""
    head = make_head()
    metas = METAS | dict(img_shape=(40, 64), ori_shape=(20, 32), scale_factor=(2.0, 2.0))
    (found,) = head.predict_by_feat(*rectangles(head, [(8, 4, 40, 36), (48, 0, 96, 64)]), [metas])
    assert found.masks.shape == (2, 20, 32)
    assert found.bboxes.tolist() == [[4, 2, 20, 18], [24, 0, 32, 20]]
    assert found.masks.sum((1, 2)).tolist() == [16 * 16, 8 * 20]


def test_a_higher_threshold_shrinks_masks():
    head = make_head()
    head.test_cfg.mask_thr = 0.7
    (found,) = head.predict_by_feat(*rectangles(head, [(8, 4, 40, 36)]), [METAS])
    assert found.bboxes.tolist() == [[9, 5, 39, 35]]


def test_nothing_is_found():
    head = make_head()
    kernels, scores, mask_feats = rectangles(head, [])
    (found,) = head.predict_by_feat(kernels, scores, mask_feats, [METAS])
    assert len(found) == 0
    assert found.masks.shape == (0, *SIZE) and found.bboxes.shape == (0, 4)
    assert found.labels.shape == (0,) and found.labels.dtype == torch.int64
    assert found.scores.dtype == torch.float32
    # A cell with a score, but with an empty mask:
    kernels, scores, mask_feats = rectangles(head, [(8, 4, 40, 36)])
    (found,) = head.predict_by_feat(kernels, scores, -mask_feats.abs(), [METAS])
    assert len(found) == 0


def test_detector_predicts_masks_and_the_boxes_that_bound_them():
    model = make_detector().eval()
    assert isinstance(model, BoxLevelSet)
    model.init_weights()
    torch.nn.init.normal_(model.mask_head.conv_cls.weight, 0, 1)
    torch.nn.init.normal_(model.mask_head.conv_kernel.weight, 0, 1)
    model.mask_head.test_cfg.filter_thr = 0.0
    images = [(255 * image.abs()).byte() for image in make_images(2, (60, 90))]
    samples = make_samples(size=(60, 90))
    for sample in samples:
        sample.set_metainfo(dict(ori_shape=(30, 45), scale_factor=(2.0, 2.0)))
    with torch.no_grad():
        results = model.test_step(dict(inputs=images, data_samples=samples))
    assert len(results) == 2
    for result in results:
        found = result.pred_instances
        assert len(found) > 1 and found.masks.shape == (len(found), 30, 45)
        assert ((found.labels >= 0) & (found.labels < 3)).all()
        assert ((found.scores > 0) & (found.scores <= 1)).all()
        assert (found.scores.diff() <= 0).all()
        for mask, box in zip(found.masks.numpy(), found.bboxes.tolist(), strict=True):
            rows, columns = mask.nonzero()
            if len(rows):
                ends = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
                assert box == ends
            else:
                assert box == [0, 0, 0, 0]


def test_detector_finds_nothing_and_goes_on():
    model = make_detector().eval()
    model.mask_head.test_cfg.score_thr = 2.0
    batch = dict(
        inputs=[torch.zeros(3, 64, 96, dtype=torch.uint8)] * 2, data_samples=make_samples()
    )
    for result in model.test_step(batch):
        assert len(result.pred_instances) == 0
        assert result.pred_instances.masks.shape == (0, *SIZE)


def test_detector_gives_the_head_the_scale_of_the_images():
    model = make_detector(loss_level_set=level_set(image_space="lab"))
    assert model.mask_head.lab_image.image_std.flatten().tolist() == [255.0] * 3
    assert model.mask_head.lab_image.image_mean.flatten().tolist() == [0.0] * 3
    assert not any("lab_image" in name for name in model.state_dict())
    assert model.mask_head.lab_image.bgr  # the images are not turned


@pytest.mark.parametrize("space", ["rgb", "lab"])
def test_detector_trains_on_padded_images(space):
    model = make_detector(loss_level_set=level_set(image_space=space))
    images = [torch.randint(0, 255, (3, 50, 70), dtype=torch.uint8) for _ in range(2)]
    samples = make_samples([[(8, 4, 40, 36)], [(10, 8, 69, 50)]], size=(50, 70))
    batch = model.data_preprocessor(dict(inputs=images, data_samples=samples), training=True)
    assert batch["inputs"].shape == (2, 3, 64, 96)
    losses = model(**batch, mode="loss")
    sum(losses.values()).backward()
    assert all(loss.isfinite() and loss > 0 for loss in losses.values())
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_masks_are_padded_like_the_images():
    """Masks of the images' own size, beside bottom and right padding."""
    head = make_head(supervision="mask")
    whole = make_samples(masks="ellipses")
    cut = make_samples(masks="ellipses")
    shape = (62, 94)  # all boxes end there
    for sample in cut:
        masks = sample.gt_instances.masks.masks[:, : shape[0], : shape[1]]
        sample.gt_instances.masks = BitmapMasks(masks, *shape)
    losses = [
        losses_of(head, masks=[sample.gt_instances.masks for sample in samples])
        for samples in (whole, cut)
    ]
    assert losses[0] == losses[1]


def scene(size=SIZE, seed=0):
    """Bright ellipses on a dark ground, their boxes and masks."""
    samples = make_samples(masks="ellipses", size=size)
    generator = np.random.default_rng(seed)
    images = generator.normal(0, 0.1, (len(samples), 3, *size)).astype(np.float32)
    for image, sample in zip(images, samples, strict=True):
        for mask in sample.gt_instances.masks.masks:
            image[:, mask > 0] += generator.uniform(1, 2, (3, 1))
    return torch.from_numpy(images), samples


@pytest.mark.parametrize(
    "settings",
    [
        dict(loss_level_set=level_set()),
        dict(loss_level_set=level_set(detach_features=True, image_weight=1.0)),
        dict(loss_level_set=level_set(mode="paper", feature_weight=1.0, image_weight=1.0)),
        dict(supervision="mask"),
        dict(
            supervision="mixed",
            loss_level_set=level_set(image_weight=1.0, feature_weight=0.0),
            architecture="mmdet",
        ),
    ],
    ids=["released", "detached", "paper", "mask", "mixed"],
)
def test_training_lowers_every_loss(settings):
    model = make_detector(**settings)
    images, samples = scene()
    if settings.get("supervision") == "mixed":
        samples[0].gt_instances.masks.masks[:] = 0
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    history = []
    for _ in range(60):  # in the middle, a loss may rise for a while
        losses = model.loss(images, samples)
        optimizer.zero_grad()
        sum(losses.values()).backward()
        optimizer.step()
        history.append({name: loss.item() for name, loss in losses.items()})
    for name, before in history[0].items():
        after = np.mean([losses[name] for losses in history[-3:]])
        assert after < before, (name, before, after)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["released", "paper"])
def test_high_rates_and_empty_images_stay_finite(mode):
    model = make_detector(
        loss_level_set=level_set(mode=mode, detach_features=False, length_weight=1e-4),
        loss_consistency=dict(type="mmlevelset.LocalConsistencyLoss"),
    )
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3, weight_decay=0.1)
    generator = np.random.default_rng(0)
    images, _ = scene()
    for _ in range(70):
        boxes = [own if generator.random() < 0.6 else [] for own in BOXES]
        if generator.random() < 0.1:
            boxes[0] = [(20, 20, 22.5, 22.5), (0, 0, 96, 64)]
        losses = model.loss(images, make_samples(boxes))
        total = sum(losses.values())
        assert total.isfinite(), losses
        optimizer.zero_grad()
        total.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        assert norm.isfinite()
        optimizer.step()
