"""Each model with refined masks: its predictions at the start, and a step of training."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks
from mmengine.config import Config, ConfigDict
from mmengine.structures import InstanceData

from mmlevelset.engine import FreezeHook

SIZE = 64
BOXES = ((12, 10, 44, 48), (30, 28, 60, 58))
SMALL = dict(feature_channels=2, hidden_channels=2, num_steps=2)
RECURRENT = dict(type="mmlevelset.RecurrentRefinement", **SMALL)
CROP = dict(type="mmlevelset.CropRefinement", size=14, **SMALL)
PLAIN = {
    "mask-rcnn": "mask-rcnn_shapes",
    "levelset-rcnn": "levelset-rcnn_shapes",
    "solov2": "solov2_shapes",
    "box-levelset": "box-levelset_shapes",
}
NAMES = list(PLAIN)
SOLO = ("solov2", "box-levelset")


def config_of(name, refined=True, **refinement):
    path = PLAIN[name]
    if refined and name == "mask-rcnn":
        path = "mask-rcnn_refined_shapes"
    config = Config.fromfile(f"configs/quickstart/{path}.py")
    model = config.model
    model.backbone.update(base_channels=8, stem_channels=8)
    model.backbone.norm_cfg.num_groups = 2
    model.neck.in_channels = [8, 16, 32, 64]
    if name in SOLO:
        if refined:
            model.mask_head.refinement = {**CROP, **refinement}
        model.test_cfg.update(score_thr=0.0098, filter_thr=0.0, max_per_img=6, mask_thr=0.5)
        return config
    head = model.roi_head.mask_head
    head.pop("mask_size", None)
    if name == "levelset-rcnn":
        head.mask_size = 28
    if refined:
        head.refinement = {**RECURRENT, **refinement}
    model.test_cfg.rcnn.update(score_thr=0.0, max_per_img=5, initial_masks=True)
    return config


def make(name, refined=True, noise=0.0, **refinement):
    torch.manual_seed(0)
    model = MODELS.build(config_of(name, refined, **refinement).model)
    model.init_weights()
    with torch.no_grad():  # masks that are not empty
        if name in SOLO:
            model.mask_head.conv_kernel.weight.mul_(30)
            model.mask_head.conv_cls.weight.mul_(3)
        else:
            model.roi_head.mask_head.conv_logits.weight.normal_()
        if noise:
            for parameter in refinement_of(model).parameters():
                parameter.add_(noise * torch.randn_like(parameter))
    return model


def refinement_of(model):
    return getattr(model, "roi_head", model).mask_head.refinement


def twin(name, model):
    """The same model without a refinement."""
    plain = make(name, refined=False)
    missing = plain.load_state_dict(model.state_dict(), strict=False)
    assert not missing.missing_keys
    assert all(".refinement." in key for key in missing.unexpected_keys)
    return plain


def batch(boxes=BOXES, images=2):
    samples = []
    for _ in range(images):
        masks = np.zeros((len(boxes), SIZE, SIZE), dtype=np.uint8)
        for mask, (x1, y1, x2, y2) in zip(masks, boxes, strict=True):
            mask[y1:y2, x1:x2] = 1
        truth = InstanceData(
            bboxes=torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
            labels=torch.arange(len(boxes)) % 4,
            masks=BitmapMasks(masks, SIZE, SIZE),
        )
        shapes = ("img_shape", "ori_shape", "pad_shape", "batch_input_shape")
        meta = dict.fromkeys(shapes, (SIZE, SIZE)) | dict(scale_factor=(1.0, 1.0))
        sample = DetDataSample(gt_instances=truth, metainfo=meta)
        sample.ignored_instances = InstanceData(bboxes=torch.zeros(0, 4))
        samples.append(sample)
    generator = torch.Generator().manual_seed(5)
    return torch.randn(images, 3, SIZE, SIZE, generator=generator), samples


def total(losses):
    return sum(
        sum(value) if isinstance(value, list) else value
        for name, value in losses.items()
        if "loss" in name
    )


def losses_of(model, **given):
    torch.manual_seed(3)  # RoIs are sampled
    return model.loss(*batch(**given))


def predicted(model):
    with torch.no_grad():
        return [sample.pred_instances for sample in model.eval().predict(*batch())]


@pytest.mark.parametrize("name", NAMES)
def test_predictions_are_the_heads_until_it_has_learned(name):
    model = make(name)
    for found, plain in zip(predicted(model), predicted(twin(name, model)), strict=True):
        assert len(found) and torch.equal(found.labels, plain.labels)
        assert found.masks.shape == (len(found), SIZE, SIZE) and found.masks.any()
        assert torch.equal(found.masks, plain.masks)
        assert torch.equal(found.bboxes, plain.bboxes)
        torch.testing.assert_close(found.scores, plain.scores)


@pytest.mark.parametrize("name", NAMES)
def test_learned_weights_change_the_masks_alone(name):
    model = make(name, noise=0.5)
    pairs = list(zip(predicted(model), predicted(twin(name, model)), strict=True))
    if name in SOLO:  # scores and the order are made of the masks
        assert any(not torch.equal(found.scores, plain.scores) for found, plain in pairs)
        return
    for found, plain in pairs:
        assert torch.equal(found.bboxes, plain.bboxes)
        assert not torch.equal(found.masks, plain.masks)
        own = plain.masks if name == "mask-rcnn" else plain.initial_masks
        assert torch.equal(found.initial_masks, own)


@pytest.mark.parametrize("name", NAMES)
def test_training_step_reaches_the_refinement(name):
    model = make(name, noise=0.3)
    losses = losses_of(model)
    refined = {key for key in losses if key.endswith("_refined") and "loss" in key}
    assert (
        refined
        == {
            "mask-rcnn": {"loss_mask_refined"},
            "levelset-rcnn": {"loss_tsdf_refined"},
            "solov2": {"loss_mask_refined"},
            "box-levelset": {"loss_projection_refined", "loss_level_set_refined"},
        }[name]
    )
    total(losses).backward()
    for key, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), key
    for key, parameter in refinement_of(model).named_parameters():
        assert parameter.grad.any(), key


@pytest.mark.parametrize("name", NAMES)
def test_both_losses_are_equal_at_the_start(name):
    losses = losses_of(make(name))
    pairs = {key: key.removesuffix("_refined") for key in losses if key.endswith("_refined")}
    for refined, own in pairs.items():
        if name == "levelset-rcnn":
            own = own + "_final"
        if name == "mask-rcnn" and own == "iou":
            own = "iou_initial"
        assert torch.equal(losses[refined], losses[own])


@pytest.mark.parametrize("name", NAMES)
def test_a_batch_without_objects(name):
    model = make(name, noise=0.3)
    losses = losses_of(model, boxes=())
    total(losses).backward()
    for key, value in losses.items():
        if key.endswith("_refined") and "loss" in key:
            assert value == 0
    for key, parameter in refinement_of(model).named_parameters():
        assert parameter.grad is not None and not parameter.grad.any(), key


@pytest.mark.parametrize("name", NAMES)
def test_detached_the_rest_learns_as_without_a_refinement(name):
    model = make(name, noise=0.3, detach=True)
    plain = twin(name, model)
    for each in (model, plain):
        total(losses_of(each)).backward()
    expected = dict(plain.named_parameters())
    for key, parameter in model.named_parameters():
        if ".refinement." in key:
            assert parameter.grad.any(), key
        else:
            gradient = expected[key].grad
            small = 1e-5 * gradient.abs().max().item()
            torch.testing.assert_close(parameter.grad, gradient, rtol=0, atol=small, msg=key)


@pytest.mark.parametrize("name", NAMES)
def test_frozen_the_refinement_alone_is_trained(name):
    model = make(name, noise=0.3).train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2, weight_decay=0.1)
    FreezeHook(trained=("refinement",)).before_train(SimpleNamespace(model=model))
    total(losses_of(model)).backward()
    optimizer.step()
    for key, value in model.state_dict().items():
        assert torch.equal(value, before[key]) != (".refinement." in key), key


def test_masks_on_a_finer_grid():
    config = config_of("mask-rcnn")
    config.model.roi_head.mask_head.mask_size = 56
    torch.manual_seed(0)
    model = MODELS.build(config.model)
    model.init_weights()
    head = model.roi_head.mask_head
    x, labels, image = torch.randn(2, 64, 14, 14), torch.tensor([0, 3]), torch.randn(2, 3, 56, 56)
    assert all(logits.shape == (2, 56, 56) for logits in head(x, labels, image))
    losses = losses_of(model)
    assert torch.equal(losses["loss_mask"], losses["loss_mask_refined"])
    assert 0 <= losses["iou_refined"] <= 1
    for found in predicted(model):
        assert torch.equal(found.masks, found.initial_masks)


def test_the_mask_of_the_class_is_refined():
    head = make("mask-rcnn").roi_head.mask_head
    with torch.no_grad():
        head.conv_logits.weight.zero_()
        head.conv_logits.bias.copy_(torch.arange(4.0))
        x, image = torch.randn(3, 64, 14, 14), torch.randn(3, 3, 28, 28)
        found = head(x, torch.tensor([2, 0, 3]), image)
    for logits in found:
        assert torch.equal(logits, torch.tensor([2.0, 0, 3])[:, None, None].expand(3, 28, 28))


@pytest.mark.parametrize("name", ["mask-rcnn", "levelset-rcnn"])
def test_labels_are_needed_unless_masks_are_of_no_class(name):
    model = make(name)
    head = model.roi_head.mask_head
    x, image = torch.randn(2, 64, 14, 14), torch.randn(2, 3, 28, 28)
    with pytest.raises(ValueError, match="labels must be given .* use mmlevelset.LevelSetRoIHead"):
        head(x, image=image)
    head.class_agnostic = True
    found, other = head(x, image=image), head(x, torch.tensor([0, 3]), image)
    assert torch.equal(found.refined, other.refined) and torch.equal(found[0], other[0])
    with torch.no_grad():  # as tools do that count operations
        *_, masks = model(*batch(), mode="tensor")[0]
    assert masks.refined.shape[1:] == (28, 28)


def test_no_more_cells_are_refined_than_nms_pre():
    head = make("solov2", noise=0.3).mask_head
    generator = torch.Generator().manual_seed(0)
    cells, channels = sum(side**2 for side in head.num_grids), head.mask_feature_head.out_channels
    kernels = torch.randn(cells, channels, generator=generator)
    scores = torch.rand(cells, head.num_classes, generator=generator)
    features = torch.randn(channels, 16, 16, generator=generator)
    image = torch.randn(3, SIZE, SIZE, generator=generator)
    meta = dict(img_shape=(SIZE, SIZE), ori_shape=(SIZE, SIZE))
    counts = []
    head.refinement.register_forward_hook(lambda _, given, __: counts.append(len(given[0])))

    def predict(scores, nms_pre):
        settings = ConfigDict(
            {**head.test_cfg, "score_thr": 0.9, "max_per_img": 100, "nms_pre": nms_pre}
        )
        with torch.no_grad():
            refined = head._refined(kernels, scores, features, image, settings)
            return head._predict_by_feat_single(*refined, meta, settings)

    def same(one, other):
        assert len(one) == len(other) > 0
        return all(torch.equal(one[key], other[key]) for key in ("scores", "labels", "masks"))

    candidates = int((scores > 0.9).sum())
    assert same(predict(scores, candidates), predict(scores, -1))
    few = predict(scores, 5)
    best = scores.amax(1).argsort()[-5:]
    alone = torch.zeros_like(scores).index_copy(0, best, scores[best])
    assert same(few, predict(alone, 5))
    cells = int((scores > 0.9).any(1).sum())
    assert counts == [cells, cells, 5, 5] and cells > 5


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(mask_size=0), "mask_size must be a positive integer or None, but is 0"),
        (dict(refined_weight=0), "refined_weight must be positive, but is 0"),
    ],
)
def test_bad_arguments(changes, message):
    with pytest.raises(ValueError, match=message):
        MODELS.build(dict(type="mmlevelset.RefinedFCNMaskHead", **changes))


def test_features_of_another_size_are_refused():
    head = make("mask-rcnn").roi_head.mask_head
    with pytest.raises(ValueError, match=r"roi_feat_size must be .* \(7, 7\), but is \(14, 14\)"):
        head(torch.randn(1, 64, 7, 7))


def test_predictions_need_the_images():
    model = make("solov2")
    features = tuple(model.extract_feat(batch()[0]))
    with pytest.raises(RuntimeError, match="input images, but are tuple: .*mmlevelset.BoxLevelSet"):
        model.mask_head.predict(features, batch()[1])


@pytest.mark.parametrize("name", NAMES)
def test_masks_are_refined_on_the_pixels_of_their_own_features(name):
    """Features of other images that are computed in between do not matter."""
    model = make(name, noise=0.5).eval()
    images, samples = batch()
    expected = predicted(model)
    with torch.no_grad():
        features = model.extract_feat(images)
        model.extract_feat(images.flip(0) - 3 * images)
        if name in SOLO:
            found = model.mask_head.predict(features, samples, rescale=True)
        else:
            proposals = model.rpn_head.predict(features, samples, rescale=False)
            found = model.roi_head.predict(features, proposals, samples, rescale=True)
    for one, other in zip(found, expected, strict=True):
        assert len(one) and torch.equal(one.masks, other.masks)
