"""Test-time augmentation: alignment with stubs of known results, and real models."""

import numpy as np
import pytest
import torch
from mmdet.structures.bbox import bbox_flip
from mmengine.config import Config
from mmengine.runner import Runner
from mmengine.structures import InstanceData

from mmlevelset.errors import InputError
from mmlevelset.experiments.testing import augment
from mmlevelset.models.inference import EncodedMasks, MaskTTAModel, group_views, vote_masks
from tests.models.inference.builders import ROOT, quickstart
from tests.models.inference.stubs import (
    NoBoxes,
    Painted,
    PaintedTwoStage,
    as_set,
    pack,
    paint,
    painted,
    views,
)

SIZE = (75, 101)
SHAPES = [(0, 5, 4, 33, 32), (1, 40, 10, 68, 38), (0, 70, 45, 98, 73), (1, 3, 40, 40, 70)]
FLIPS = ("horizontal", "vertical", "diagonal")
CONFIG = ROOT / "configs/quickstart/levelset-rcnn_tta_shapes.py"


def whole(image):
    """The painted areas of an image."""
    return painted(torch.from_numpy(image).permute(2, 0, 1).float(), image.shape[:2])


def detect(model, image, *scales, flips=(None,)):
    with torch.no_grad():
        data = pack(image, views(*scales or (1.0,), flips=flips, size=image.shape[:2]))
        (sample,) = model.test_step(data)
    return sample.pred_instances


@pytest.mark.parametrize("flip", FLIPS)
@pytest.mark.parametrize("scales", [(1,), (2,), (1, 2), (3, 2)])
def test_votes_of_flipped_and_scaled_views_fall_on_the_same_pixels(flip, scales):
    image = paint(*SIZE, SHAPES)
    expected = whole(image)
    for flips in ((flip,), (None, flip), (flip, flip, None)):
        found = detect(MaskTTAModel(Painted()), image, *scales, flips=flips)
        assert len(found) == len(SHAPES) and as_set(found) == as_set(expected)
        np.testing.assert_allclose(
            sorted(found.scores.tolist()), sorted(expected.scores.tolist()), rtol=1e-6
        )
        np.testing.assert_array_equal(found.bboxes, EncodedMasks.encode(found.masks).boxes())


@pytest.mark.parametrize("flip", FLIPS)
@pytest.mark.parametrize("average", ["sigmoid", "none"])
@pytest.mark.parametrize("scales", [(1,), (2,), (1, 2)])
def test_maps_of_flipped_and_scaled_views_fall_on_the_same_pixels(flip, scales, average):
    image = paint(*SIZE, [shape for shape in SHAPES if shape[0] == 0])
    model = MaskTTAModel(PaintedTwoStage(), average=average)
    assert model.by_boxes
    for flips in ((flip,), (None, flip)):
        found = detect(model, image, *scales, flips=flips)
        assert len(found) == 2 and as_set(found) == as_set(whole(image))


def test_a_view_that_is_off_by_a_pixel_shows():
    class Shifted(Painted):
        def predict(self, *args):
            samples = super().predict(*args)
            for sample in samples:
                masks = sample.pred_instances.masks
                sample.pred_instances.masks = masks.roll(1, -1)
            return samples

    image = paint(*SIZE, SHAPES)
    found = detect(MaskTTAModel(Shifted()), image, 1, flips=(None, "horizontal"))
    assert as_set(found) != as_set(whole(image))


@pytest.fixture(scope="module")
def photo():
    noise = np.random.default_rng(0).integers(0, 255, (12, 16, 3)).astype(np.uint8)
    return np.kron(noise, np.ones((8, 8, 1), dtype=np.uint8))


def same(found, expected, tolerance=0.0):
    """Compare detections one by one; a share ``tolerance`` of the masks' pixels may differ."""
    assert len(found) == len(expected) > 3
    torch.testing.assert_close(found.scores, expected.scores, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(found.bboxes, expected.bboxes, rtol=1e-3, atol=1e-3)
    assert torch.equal(found.labels, expected.labels)
    for name in {"masks", "initial_masks"} & set(found.keys()):
        differing = (found[name] != expected[name]).float().mean()
        assert differing <= tolerance and found[name].any() and not found[name].all()


@pytest.mark.parametrize("name", ["mask_rcnn", "levelset_rcnn", "box_levelset"])
@pytest.mark.parametrize("masks", ["auto", "vote"])
def test_one_plain_view_is_the_detectors_own(detectors, photo, name, masks):
    with torch.no_grad():
        plain = detectors[name].test_step(pack(photo))[0].pred_instances
    for average in ("sigmoid", "none"):
        model = MaskTTAModel(detectors[name], masks=masks, average=average)
        assert model.by_boxes == (name != "box_levelset" and masks == "auto")
        found = detect(model, photo)
        same(found, plain, tolerance=1e-4 if average == "sigmoid" else 0)
        by_boxes_of_level_sets = name == "levelset_rcnn" and masks == "auto"
        assert ("initial_masks" in found) == by_boxes_of_level_sets


@pytest.mark.parametrize("name", ["mask_rcnn", "levelset_rcnn", "box_levelset"])
def test_a_flipped_view_is_the_detectors_own_flipped_back(detectors, photo, name):
    mirrored = np.ascontiguousarray(photo[:, ::-1])
    with torch.no_grad():
        expected = detectors[name].test_step(pack(mirrored))[0].pred_instances
    for key in {"masks", "initial_masks"} & set(expected.keys()):
        expected[key] = expected[key].flip(-1)
    expected.bboxes = bbox_flip(expected.bboxes, photo.shape[:2])
    found = detect(MaskTTAModel(detectors[name], average="none"), photo, flips=("horizontal",))
    same(found, expected, tolerance=2e-4)
    assert ("initial_masks" in found) == ("initial_masks" in expected)


def test_several_views_average_level_sets(detectors, photo):
    model = MaskTTAModel(detectors["levelset_rcnn"], average="none", max_per_img=5)
    detectors["levelset_rcnn"].roi_head.test_cfg.level_sets = True
    found = detect(model, photo, 1.0, 1.5, flips=(None, "horizontal"))
    detectors["levelset_rcnn"].roi_head.test_cfg.level_sets = False
    assert len(found) == 5 and found.masks.shape == (5, *photo.shape[:2])
    assert found.level_sets.shape[0] == 5 and found.level_sets.isfinite().all()
    assert "predict_by_feat" not in vars(model.module.roi_head.mask_head)


class Nothing(PaintedTwoStage):
    def extract_feat(self, batch_inputs):
        return (0 * super().extract_feat(batch_inputs)[0],)


@pytest.mark.parametrize("module", [Painted, Nothing])
def test_an_image_without_objects_has_none(module):
    image = paint(*SIZE, [])
    found = detect(MaskTTAModel(module()), image, 1, 2, flips=(None, "horizontal"))
    assert len(found) == 0 and found.masks.shape == (0, *SIZE) and found.bboxes.shape == (0, 4)


def test_real_detector_that_finds_nothing_keeps_its_fields(detectors, photo):
    model = MaskTTAModel(detectors["levelset_rcnn"])
    settings = model.module.roi_head.test_cfg
    before = settings.score_thr
    settings.score_thr = 1.0
    found = detect(model, photo, 1, flips=(None, "horizontal"))
    settings.score_thr = before
    assert len(found) == 0
    assert found.masks.shape == found.initial_masks.shape == (0, *photo.shape[:2])


def naive_groups(overlap, scores, labels, views, threshold):
    left = sorted(range(len(scores)), key=lambda i: -scores[i])
    groups = []
    while left:
        leader = left.pop(0)
        near = [
            i
            for i in left
            if labels[i] == labels[leader]
            and views[i] != views[leader]
            and overlap[leader, i] >= threshold
        ]
        left = [i for i in left if i not in near]
        of_view = {}
        for i in near:
            if views[i] not in of_view or overlap[leader, i] > overlap[leader, of_view[views[i]]]:
                of_view[views[i]] = i
        groups.append([leader, *(of_view[view] for view in sorted(of_view))])
    return groups


@pytest.mark.parametrize("seed", range(6))
def test_groups_are_those_of_their_definition(seed):
    rng = np.random.default_rng(seed)
    count = 25
    overlap = rng.random((count, count))
    overlap = (overlap + overlap.T) / 2
    arguments = overlap, rng.random(count), rng.integers(0, 2, count), rng.integers(0, 4, count)
    groups = group_views(*arguments, 0.6)
    assert groups == naive_groups(*arguments, 0.6)
    assert max(map(len, groups)) > 1


def test_a_single_view_keeps_all():
    overlap = np.ones((4, 4))
    groups = group_views(overlap, np.array([0.1, 0.4, 0.3, 0.2]), np.zeros(4), np.zeros(4), 0.5)
    assert groups == [[1], [2], [3], [0]]


def test_a_vote_needs_half_of_the_weight():
    rng = np.random.default_rng(0)
    masks, weights = rng.random((5, 9, 7)) < 0.5, np.array([0.9, 0.5, 0.3, 0.8, 0.8])
    groups = [[0], [3, 4], [0, 1, 2]]
    voted = vote_masks(EncodedMasks.encode(masks), weights, groups).numpy()
    for mask, group in zip(voted, groups, strict=True):
        share = sum(weights[i] * masks[i] for i in group)
        np.testing.assert_array_equal(mask, share >= weights[group].sum() / 2)
    assert not vote_masks(EncodedMasks.encode(masks & False), weights, groups).numpy().any()


class Fixed(Painted):
    """A detector that finds the next of given boxes and scores in each view."""

    def __init__(self, boxes, scores):
        super().__init__()
        self.answers = iter(zip(boxes, scores, strict=True))

    def predict(self, batch_inputs, batch_data_samples):
        for sample in batch_data_samples:
            box, score = next(self.answers)
            x1, y1, x2, y2 = box
            mask = torch.zeros(1, *sample.ori_shape[:2], dtype=torch.bool)
            mask[:, y1:y2, x1:x2] = True
            sample.pred_instances = InstanceData(
                masks=mask,
                bboxes=torch.tensor([box]) + 0.5,  # differs from the mask's box
                scores=torch.tensor([score]),
                labels=torch.tensor([2]),
            )
        return batch_data_samples


BOXES = [(10, 10, 30, 30), (10, 10, 34, 30), (60, 40, 80, 60)]
SCORES = [0.2, 0.6, 0.3]


def test_boxes_are_weighted_by_scores_and_scores_averaged_over_all_views():
    image = paint(*SIZE, [])
    found = detect(MaskTTAModel(Fixed(BOXES, SCORES)), image, 1, flips=(None,) * 3)
    torch.testing.assert_close(
        found.bboxes, torch.tensor([[10.5, 10.5, 33.5, 30.5], [60.5, 40.5, 80.5, 60.5]])
    )
    torch.testing.assert_close(found.scores, torch.tensor([0.8 / 3, 0.1]))
    assert found.labels.tolist() == [2, 2]
    assert found.masks.sum((1, 2)).tolist() == [24 * 20, 400]


def test_an_object_without_a_box_gets_its_masks():
    image = paint(*SIZE, SHAPES)
    with_boxes = detect(MaskTTAModel(Painted()), image, 1, flips=(None, "horizontal"))
    found = detect(MaskTTAModel(NoBoxes()), image, 1, flips=(None, "horizontal"))
    assert torch.equal(found.bboxes, with_boxes.bboxes)


def test_the_best_box_and_the_best_score_can_be_had():
    image = paint(*SIZE, [])
    model = MaskTTAModel(Fixed(BOXES, SCORES), boxes="best", scores="max", max_per_img=1)
    found = detect(model, image, 1, flips=(None,) * 3)
    assert found.bboxes.tolist() == [[10.5, 10.5, 34.5, 30.5]]
    torch.testing.assert_close(found.scores, torch.tensor([0.6]))
    apart = MaskTTAModel(Fixed(BOXES, SCORES), iou_thr=0.9)
    assert len(detect(apart, image, 1, flips=(None,) * 3)) == 3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(masks="all"), "masks must be one of auto, boxes, vote, but is 'all'"),
        (dict(average="mean"), "average must be one of sigmoid, none, but is 'mean'"),
        (dict(boxes="all"), "boxes must be one of weighted, best"),
        (dict(scores="min"), "scores must be one of mean, max"),
        (dict(iou_thr=0), r"iou_thr must be in \(0, 1\], but is 0"),
        (dict(max_per_img=0), "max_per_img must be a positive integer, but is 0"),
    ],
)
def test_a_wrong_setting_is_named(changes, message):
    with pytest.raises(ValueError, match=message):
        MaskTTAModel(Painted(), **changes)


def test_masks_of_boxes_need_a_detector_that_predicts_them():
    with pytest.raises(TypeError, match="module is Painted: use masks='vote'"):
        MaskTTAModel(Painted(), masks="boxes")
    assert not MaskTTAModel(PaintedTwoStage(), masks="vote").by_boxes
    assert not MaskTTAModel(quickstart("crls")).by_boxes
    assert MaskTTAModel(quickstart("mask-rcnn_refined")).by_boxes


def test_data_that_are_no_views_are_refused():
    image = paint(*SIZE, SHAPES)
    with pytest.raises(ValueError, match="needs the transform TestTimeAug"):
        MaskTTAModel(Painted()).test_step(pack(image))
    packing = dict(type="PackDetInputs", meta_keys=("ori_shape", "img_shape", "scale_factor"))
    data = pack(image, [dict(type="TestTimeAug", transforms=[[packing]])])
    with pytest.raises(ValueError, match="each view must have 'flip': put RandomFlip before"):
        MaskTTAModel(Painted()).test_step(data)


def test_the_test_command_says_what_the_config_lacks():
    config = Config.fromfile(ROOT / "configs/quickstart/levelset-rcnn_shapes.py")
    with pytest.raises(InputError, match="--tta needs tta_model and tta_pipeline in the conf"):
        augment(config)


def test_the_test_command_runs_the_config_with_a_plain_checkpoint(tmp_path):
    config = Config.fromfile(CONFIG)
    checkpoint = tmp_path / "plain.pth"
    torch.save(dict(state_dict=quickstart("levelset-rcnn").state_dict()), checkpoint)
    config.merge_from_dict(
        {
            "work_dir": str(tmp_path),
            "load_from": str(checkpoint),
            "log_level": "WARNING",
            "experiment_name": str(tmp_path),
            "visualizer.name": str(tmp_path),
            "test_dataloader.dataset.length": 1,
            "model.test_cfg.rcnn.max_per_img": 12,
            "model.test_cfg.rcnn.initial_masks": True,
            "tta_model.max_per_img": 7,
        }
    )
    augment(config)
    runner = Runner.from_cfg(config)
    values = runner.test()
    assert isinstance(runner.model, MaskTTAModel) and runner.model.max_per_img == 7
    for name in ("bbox_mAP", "segm_mAP", "AF_1", "initial_segm_mAP"):
        assert 0 <= values[f"coco/{name}"] <= 1
    expected = torch.load(checkpoint)["state_dict"]
    for name, value in runner.model.module.state_dict().items():
        assert torch.equal(value, expected[name])
