import copy

import numpy as np
import pytest
import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks
from mmengine.config import Config
from mmengine.structures import InstanceData

from mmlevelset.models.common import ImageFeatures
from mmlevelset.ops.boxes import paste_level_sets

CONFIG = "configs/quickstart/levelset-rcnn_shapes.py"


def detector(**head):
    torch.manual_seed(0)
    config = Config.fromfile(CONFIG)
    config.merge_from_dict({f"model.roi_head.mask_head.{name}": v for name, v in head.items()})
    config.model.roi_head.mask_head.mask_size = 28
    config.model.test_cfg.rcnn.update(score_thr=0.0, max_per_img=5)
    model = MODELS.build(config.model)
    model.init_weights()
    return model


def batch(boxes=((20, 16, 60, 70), (50, 40, 90, 80)), images=2, size=96):
    samples = []
    for _ in range(images):
        masks = np.zeros((len(boxes), size, size), dtype=np.uint8)
        for mask, (x1, y1, x2, y2) in zip(masks, boxes, strict=True):
            mask[y1:y2, x1:x2] = 1
        truth = InstanceData(
            bboxes=torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
            labels=torch.arange(len(boxes)) % 4,
            masks=BitmapMasks(masks, size, size),
        )
        shapes = ("img_shape", "ori_shape", "pad_shape", "batch_input_shape")
        meta = dict.fromkeys(shapes, (size, size)) | dict(scale_factor=(1.0, 1.0))
        sample = DetDataSample(gt_instances=truth, metainfo=meta)
        sample.ignored_instances = InstanceData(bboxes=torch.zeros(0, 4))
        samples.append(sample)
    return torch.randn(images, 3, size, size), samples


def total(losses):
    return sum(
        sum(value) if isinstance(value, list) else value
        for name, value in losses.items()
        if "loss" in name
    )


@pytest.mark.parametrize(
    "head",
    [
        {},
        dict(image_features=True, fine_channels=2, data_scale=10.0),
        dict(num_steps=0),
        dict(class_agnostic=True, detach_initial=True, reduction="sum"),
        {"hyperparameter_head.type": "mmlevelset.GlobalHyperparameters"},
    ],
)
def test_training_step_reaches_every_parameter(head):
    model = detector(**head)
    losses = model.loss(*batch())
    total(losses).backward()
    assert 0 <= losses["iou_initial"] <= 1
    names = {name for name in losses if name.startswith("loss_tsdf")}
    assert "loss_tsdf_initial" in names
    assert ("loss_tsdf_final" in names) == (head.get("num_steps") != 0)
    for name, parameter in model.roi_head.mask_head.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name


def test_training_takes_the_channel_of_the_true_class():
    model = detector(num_steps=0)
    inputs, samples = batch(images=1)
    samples[0].gt_instances.labels = torch.tensor([2, 2])
    total(model.loss(inputs, samples)).backward()
    touched = model.roi_head.mask_head.conv_logits.weight.grad.flatten(1).any(1)
    assert touched.tolist() == [False, False, True, False]


def test_prediction_takes_the_channel_of_the_predicted_class():
    model = detector(num_steps=0).eval()
    with torch.no_grad():
        model.roi_head.mask_head.conv_logits.weight.zero_()
        model.roi_head.mask_head.conv_logits.bias.copy_(torch.tensor([0.1, 0.2, 0.3, 0.4]))
        model.roi_head.test_cfg.level_sets = True
        for result in model.predict(*batch()):
            instances = result.pred_instances
            expected = 0.1 * (instances.labels + 1)
            torch.testing.assert_close(instances.level_sets[:, 0, 14, 14], expected)


@pytest.mark.parametrize("images", [1, 2])
def test_a_batch_without_objects(images):
    model = detector(image_features=True)
    losses = model.loss(*batch(boxes=(), images=images))
    total(losses).backward()
    assert losses["loss_tsdf_initial"] == losses["loss_tsdf_final"] == 0
    for name, parameter in model.roi_head.mask_head.named_parameters():
        assert parameter.grad is not None and (parameter.grad == 0).all(), name


def test_prediction_carries_the_fields_that_settings_ask_for():
    model = detector(image_features=True).eval()
    model.roi_head.test_cfg.update(initial_masks=True, level_sets=True, polygons=True)
    inputs, samples = batch()
    with torch.no_grad():
        results = model.predict(inputs, samples)
    for result in results:
        instances = result.pred_instances
        count = len(instances)
        assert count == 5
        assert instances.masks.shape == instances.initial_masks.shape == (count, 96, 96)
        assert instances.masks.dtype == torch.bool
        assert instances.level_sets.shape == (count, 4, 28, 28)
        assert len(instances.polygons) == count
        for name, step in (("initial_masks", 0), ("masks", -1)):
            pasted = paste_level_sets(instances.level_sets[:, step], instances.bboxes, 96, 96)
            assert torch.equal(instances[name], pasted)
    model.roi_head.test_cfg.update(initial_masks=False, level_sets=False, polygons=False)
    with torch.no_grad():
        result = model.predict(*batch())[0].pred_instances
    assert set(result.keys()) == {"bboxes", "scores", "labels", "masks"}


def test_prediction_at_another_scale():
    model = detector().eval()
    inputs, samples = batch(images=1)
    reference = copy.deepcopy(samples)
    samples[0].set_metainfo(dict(ori_shape=(96, 24), scale_factor=(4.0, 1.0)))
    with torch.no_grad():
        small = model.predict(inputs, samples)[0].pred_instances
        full = model.predict(inputs, reference)[0].pred_instances
    assert small.masks.shape[1:] == (96, 24)
    torch.testing.assert_close(small.bboxes * torch.tensor([4.0, 1, 4, 1]), full.bboxes)
    shrunk = full.masks.float().view(-1, 96, 24, 4).mean(3)
    assert ((shrunk >= 0.5) == small.masks).float().mean() > 0.95


def test_prediction_in_the_frame_of_the_input():
    model = detector().eval()
    inputs, samples = batch(images=1)
    samples[0].set_metainfo(dict(ori_shape=(48, 48), scale_factor=(2.0, 2.0)))
    with torch.no_grad():
        instances = model.predict(inputs, samples, rescale=False)[0].pred_instances
    assert instances.masks.shape[1:] == (96, 96)
    torch.testing.assert_close(instances.bboxes.clamp(0, 96), instances.bboxes)


def test_images_of_different_sizes():
    model = detector(image_features=True)
    small, large = batch(size=64, boxes=((10, 8, 40, 50),)), batch(size=96)
    inputs = torch.zeros(2, 3, 96, 96)
    inputs[0, :, :64, :64], inputs[1] = small[0][0], large[0][1]
    losses = model.loss(inputs, [small[1][0], large[1][1]])
    assert total(losses).isfinite()


def test_prediction_without_detections():
    model = detector(image_features=True).eval()
    asked = dict(initial_masks=True, level_sets=True, polygons=True)
    model.roi_head.test_cfg.update(score_thr=1.1, **asked)
    inputs, samples = batch()
    with torch.no_grad():
        results = model.predict(inputs, samples)
    for result in results:
        assert result.pred_instances.masks.shape == (0, 96, 96)
        assert result.pred_instances.initial_masks.shape == (0, 96, 96)
        assert result.pred_instances.polygons == []


def test_crops_are_aligned():
    model = detector(image_features=True, fine_channels=1)
    x = torch.arange(96.0).expand(96, 96)
    images = torch.stack([torch.zeros(3, 96, 96), torch.stack([x, x.T, x + x.T])])
    # Sample i of the finest map lies at pixel 4 i + 2, so it has the mean of 4 pixels.
    finest = images.unflatten(3, (24, 4)).unflatten(2, (24, 4)).mean((3, 5))
    model.roi_head.mask_head.fine_projection = torch.nn.Identity()
    features = ImageFeatures((finest,), images)
    crops = model.roi_head._crops(features, torch.tensor([[1.0, 10, 20, 38, 76]]))
    samples = torch.arange(28) + 0.5  # pixel i has its centre at i + 0.5
    for maps in crops.values():
        torch.testing.assert_close(maps[0, 0], (10 + samples - 0.5).expand(28, 28))
        torch.testing.assert_close(maps[0, 1], (20 + 2 * samples - 0.5)[:, None].expand(28, 28))


def test_masks_evolve_on_the_pixels_of_their_own_features():
    """Features of other images that are computed in between do not matter."""
    model = detector(image_features=True).eval()
    inputs, samples = batch()
    model.roi_head.test_cfg.level_sets = True
    with torch.no_grad():
        features = model.extract_feat(inputs)
        proposals = model.rpn_head.predict(features, samples, rescale=False)
        model.extract_feat(inputs.flip(0) - 3 * inputs)
        found = model.roi_head.predict(features, proposals, samples, rescale=True)
        expected = model.predict(inputs, samples)
    for one, other in zip(found, expected, strict=True):
        assert len(one) and torch.equal(one.level_sets, other.pred_instances.level_sets)


def test_image_features_need_our_detector():
    model = Config.fromfile(CONFIG).model
    model.type = "MaskRCNN"
    model.roi_head.mask_head.image_features = True
    model = MODELS.build(model)
    with pytest.raises(RuntimeError, match="mmlevelset.LevelSetRCNN"):
        model.loss(*batch())


def test_learns_two_rectangles():
    model = detector(image_features=False)
    inputs, samples = batch()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    for _ in range(30):
        losses = model.loss(inputs, copy.deepcopy(samples))
        optimizer.zero_grad()
        total(losses).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
    assert losses["iou_final"] > 0.85 and losses["iou_initial"] > 0.75
