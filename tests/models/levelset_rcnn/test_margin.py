"""Masks on enlarged boxes."""

import numpy as np
import pytest
import torch
from mmcv.ops import RoIAlign
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.structures import InstanceData

from mmlevelset.models.inference import MaskTTAModel
from tests.models.inference.test_tta import detect, pack, same
from tests.models.levelset_rcnn.test_detector import batch

HEADS = {
    "mask-rcnn": "mmlevelset.MarginRoIHead",
    "mask-rcnn_refined": "mmlevelset.LevelSetRoIHead",
    "levelset-rcnn_image": "mmlevelset.LevelSetRoIHead",
    "delse": "mmlevelset.LevelSetRoIHead",
}


def detector(name, margin):
    torch.manual_seed(0)
    config = Config.fromfile(f"configs/quickstart/{name}_shapes.py")
    config.model.roi_head.update(type=HEADS[name], mask_margin=margin)
    config.model.test_cfg.rcnn.update(score_thr=0.0, max_per_img=5)
    model = MODELS.build(config.model)
    model.init_weights()
    return model.eval()


def test_boxes_grow_by_their_own_size_up_to_the_images_sides():
    head = detector("mask-rcnn", 0.25).roi_head
    boxes = torch.tensor([[40.0, 20, 60, 60], [0, 2, 8, 50], [80, 90, 96, 100]])
    expected = [[35.0, 10, 65, 70], [0, 0, 10, 62], [76, 87.5, 96, 100]]
    assert head.mask_boxes(boxes, (100, 96)).tolist() == expected
    assert head.mask_boxes(boxes[:0], (100, 96)).shape == (0, 4)


@pytest.mark.parametrize("name", HEADS)
def test_targets_and_features_are_of_the_enlarged_boxes(name, monkeypatch):
    """A proposal that is half of an object has the whole object in its targets."""
    seen = []
    align = RoIAlign.forward
    monkeypatch.setattr(
        RoIAlign, "forward", lambda self, x, rois: seen.append(rois) or align(self, x, rois)
    )
    model = detector(name, 0.5).train()
    images, samples = batch(boxes=((40, 30, 60, 50),), images=1)
    truth = samples[0].gt_instances
    half = torch.tensor([[40.0, 30, 50, 40], [44, 34, 56, 46]])
    sampled = InstanceData(
        pos_priors=half,
        pos_assigned_gt_inds=torch.zeros(2, dtype=torch.long),
        pos_gt_labels=truth.labels.expand(2),
    )
    found = model.roi_head.mask_loss(model.extract_feat(images), [sampled], None, [truth])
    wide = torch.tensor([[35.0, 25, 55, 45], [38, 28, 62, 52]])
    torch.testing.assert_close(seen[-1][:, 1:].unique(dim=0), wide)
    targets = found.get("mask_targets")
    if targets is None:  # mmdet returns the losses alone
        enlarged = model.roi_head._enlarged([sampled], [truth])
        targets = model.roi_head.mask_head.get_targets(enlarged, [truth], model.roi_head.train_cfg)
    inside = targets.float().mean((1, 2))
    # 15 x 15 of 20 x 20 pixels, and 20 x 20 of 24 x 24.
    torch.testing.assert_close(inside, torch.tensor([0.5625, 0.694]), atol=0.04, rtol=0)
    assert torch.equal(sampled.pos_priors, half)


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize("rescale", [False, True])
def test_masks_leave_their_boxes_and_boxes_stay(name, rescale, monkeypatch):
    model = detector(name, 0.5)
    head = model.roi_head
    maps = head._mask_forward

    def full(*args, **kwargs):
        result = maps(*args, **kwargs)["mask_preds"]
        if not isinstance(result, torch.Tensor):
            return dict(mask_preds=type(result)(*(v if v is None else v * 0 + 1 for v in result)))
        return dict(mask_preds=result * 0 + 9)

    monkeypatch.setattr(head, "_mask_forward", full)
    boxes = torch.tensor([[40.0, 20, 60, 40], [0, 0, 16, 8]])
    found = InstanceData(bboxes=boxes.clone(), labels=torch.zeros(2, dtype=torch.long))
    meta = dict(img_shape=(96, 96), ori_shape=(192, 192), scale_factor=(0.5, 0.5))
    with torch.no_grad():
        features = model.extract_feat(torch.randn(1, 3, 96, 96))
        (found,) = head.predict_mask(features, [meta], [found], rescale=rescale)
    scale = 2 if rescale else 1
    assert torch.equal(found.bboxes, scale * boxes)
    wide = torch.tensor([[30.0, 10, 70, 50], [0, 0, 24, 12]]) * scale
    torch.testing.assert_close(found.mask_boxes, wide)
    assert found.masks.shape == (2, 96 * scale, 96 * scale)
    for mask, (x1, y1, x2, y2) in zip(found.masks, wide.int().tolist(), strict=True):
        outside = mask.clone()
        outside[y1:y2, x1:x2] = False
        assert not outside.any() and mask[y1 + 1 : y2 - 1, x1 + 1 : x2 - 1].all()


def test_without_a_margin_and_without_objects_all_is_mmdets():
    plain = Config.fromfile("configs/quickstart/mask-rcnn_shapes.py").model
    plain.test_cfg.rcnn.update(score_thr=0.0, max_per_img=5)
    torch.manual_seed(0)
    expected = MODELS.build(plain)
    model = detector("mask-rcnn", 0.0)
    expected.load_state_dict(model.state_dict())
    images, samples = batch()
    with torch.no_grad():
        found = model.predict(images, samples)[0].pred_instances.clone()
        wanted = expected.eval().predict(images, samples)[0].pred_instances
    assert set(found.keys()) == set(wanted.keys()) and len(found) == 5
    assert all(torch.equal(found[name], wanted[name]) for name in wanted.keys())
    model.roi_head.mask_margin = 0.5
    model.roi_head.test_cfg.score_thr = 2.0
    with torch.no_grad():
        found = model.predict(images, samples)[0].pred_instances
    assert len(found) == 0 and found.masks.shape == (0, 96, 96)


@pytest.mark.parametrize("flip", [None, "horizontal"])
def test_views_see_the_enlarged_boxes(flip):
    noise = np.random.default_rng(0).integers(0, 255, (12, 16, 3)).astype(np.uint8)
    photo = np.kron(noise, np.ones((8, 8, 1), dtype=np.uint8))
    model = detector("levelset-rcnn_image", 0.3)
    model.roi_head.test_cfg.update(initial_masks=True)
    seen = photo if flip is None else np.ascontiguousarray(photo[:, ::-1])
    with torch.no_grad():
        expected = model.test_step(pack(seen))[0].pred_instances
    if flip:
        for key in ("masks", "initial_masks"):
            expected[key] = expected[key].flip(-1)
        width = photo.shape[1]
        expected.bboxes[:, [0, 2]] = width - expected.bboxes[:, [2, 0]]
    found = detect(MaskTTAModel(model, average="none"), photo, flips=(flip,))
    same(found, expected, tolerance=2e-4)


@pytest.mark.parametrize(
    "changes, message",
    [
        (dict(mask_margin=-0.1), "mask_margin must be at least 0, but is -0.1"),
        (dict(mask_margin="wide"), "mask_margin must be at least 0, but is 'wide'"),
        (dict(mask_margin=0.1, mask_roi_extractor=None), "mask_roi_extractor must be given"),
    ],
)
def test_a_wrong_margin_is_named(changes, message):
    config = Config.fromfile("configs/quickstart/mask-rcnn_shapes.py").model
    config.roi_head.update(type="mmlevelset.MarginRoIHead", **changes)
    with pytest.raises(ValueError, match=message):
        MODELS.build(config)
