"""Tiled inference: alignment, real models, memory, and uses of the results."""

import itertools

import numpy as np
import pytest
import torch
from mmdet.evaluation import CocoMetric
from mmdet.structures import DetDataSample
from mmdet.visualization import DetLocalVisualizer
from mmengine.config import Config
from mmengine.runner import Runner
from mmengine.runner.checkpoint import load_checkpoint

from mmlevelset.evaluation import LevelSetCocoMetric
from mmlevelset.experiments.testing import make_dump
from mmlevelset.models.inference import EncodedMasks, TiledDetector, tile_windows
from mmlevelset.visualization import draw_comparison, match_masks
from tests.models.inference.builders import ROOT, quickstart
from tests.models.inference.stubs import NoBoxes, Painted, as_set, pack, paint, painted

TILED = ROOT / "configs/quickstart/levelset-rcnn_tiled_shapes.py"
SMALL = [
    (0, 5, 7, 45, 47),
    (1, 50, 20, 88, 55),
    (0, 70, 60, 110, 100),
    (1, 100, 110, 139, 148),
    (0, 180, 3, 219, 40),
    (1, 201, 131, 240, 170),
    (0, 3, 120, 40, 157),
]
LARGE = [(0, 10, 10, 230, 90), (1, 20, 100, 90, 170)]
SIZE = (173, 241)


def tiled(module=None, **settings):
    settings = dict(dict(tile_size=96, overlap=44, batch_size=3), **settings)
    return TiledDetector(Painted() if module is None else module, **settings)


def whole(image):
    """The painted areas of an image."""
    return painted(torch.from_numpy(image).permute(2, 0, 1).float(), image.shape[:2])


def detect(model, image):
    with torch.no_grad():
        (sample,) = model.test_step(pack(image))
    return sample.pred_instances


@pytest.mark.parametrize("length", [1, 7, 8, 9, 12, 13, 40, 41])
@pytest.mark.parametrize("overlap", [0, 3, 7])
def test_tiles_cover_the_image_overlap_enough_and_are_no_more_than_needed(length, overlap):
    windows = tile_windows(length, 20, (8, 20), (overlap, 5))
    spans = [(top, bottom) for left, top, right, bottom in windows if (left, right) == (0, 20)]
    assert len(spans) == len(windows)
    assert spans[0][0] == 0 and spans[-1][1] == length
    assert all(bottom - top == min(8, length) for top, bottom in spans)
    for (_, before), (after, _) in itertools.pairwise(spans):
        assert before - after >= overlap
    assert len(spans) == 1 or (len(spans) - 1) * (8 - overlap) + overlap < length


def test_both_sides_are_cut():
    windows = tile_windows(10, 11, (6, 6), (2, 1))
    assert windows == [(0, 0, 6, 6), (5, 0, 11, 6), (0, 4, 6, 10), (5, 4, 11, 10)]


@pytest.mark.parametrize("cut", ["join", "keep", "drop"])
def test_objects_smaller_than_the_overlap_are_found_once_where_they_are(cut):
    image = paint(*SIZE, SMALL)
    expected = whole(image)
    found = detect(tiled(cut=cut), image)
    assert isinstance(found.masks, EncodedMasks) and found.masks.size == SIZE
    assert len(found) == len(SMALL) and as_set(found) == as_set(expected)
    np.testing.assert_array_equal(found.bboxes.numpy(), found.masks.boxes())
    assert found.scores.tolist() == sorted(expected.scores.tolist(), reverse=True)
    assert "cut" not in found


@pytest.mark.parametrize("tile_scale", [(192, 192), (288, 300)])
def test_tiles_that_the_network_sees_larger_give_the_same(tile_scale):
    image, module = paint(*SIZE, SMALL), Painted()
    found = detect(tiled(module, tile_scale=tile_scale), image)
    assert as_set(found) == as_set(whole(image))
    assert {shape[2:] for shape in module.seen} == {(tile_scale[0],) * 2}


def test_objects_larger_than_a_tile_are_joined_and_otherwise_come_in_pieces():
    image = paint(*SIZE, LARGE)
    expected = whole(image)
    joined = detect(tiled(cut="join"), image)
    assert as_set(joined) == as_set(expected)
    np.testing.assert_array_equal(joined.bboxes.numpy(), joined.masks.boxes())
    kept = detect(tiled(cut="keep"), image)
    assert len(kept) > len(expected) and (0 in kept.labels) and (1 in kept.labels)
    dropped = detect(tiled(cut="drop"), image)
    assert as_set(dropped) <= as_set(expected) and 0 not in dropped.labels


def test_a_whole_object_beats_a_piece_with_a_better_score():
    image = paint(96, 148, [(0, 60, 10, 95, 50)])  # whole in both tiles
    image[20:40, 92:99, 0] = 255  # now cut in the left tile, which ends at 96
    assert detect(tiled(overlap=44, cut="keep"), image).labels.tolist() == [0]
    without = detect(tiled(overlap=44, cut="keep", ios_thr=None, iou_thr=None), image)
    assert len(without) == 2 and without.scores[0] > without.scores[1]


def test_detections_of_one_tile_are_never_compared():
    class Twice(Painted):
        def predict(self, *args):
            samples = super().predict(*args)
            for sample in samples:
                own = sample.pred_instances
                sample.pred_instances = own.cat([own, own])
            return samples

    image = paint(*SIZE, SMALL)
    assert len(detect(tiled(Twice()), image)) == 2 * len(SMALL)


def test_an_image_no_larger_than_a_tile_is_the_detectors_own():
    image = paint(96, 90, SMALL[:1])
    plain = Painted().test_step(pack(image))[0]
    (sample,) = tiled().test_step(pack(image))
    assert type(sample.pred_instances.masks) is torch.Tensor
    assert torch.equal(sample.pred_instances.masks, plain.pred_instances.masks)
    assert torch.equal(sample.pred_instances.bboxes, plain.pred_instances.bboxes)
    assert sample.img_id == 7 and tuple(sample.ori_shape) == (96, 90)


def test_an_image_without_objects_has_none():
    found = detect(tiled(), paint(*SIZE, []))
    assert len(found) == 0 and found.masks.shape == (0, *SIZE) and found.bboxes.shape == (0, 4)
    image = paint(96, 130, [(0, 60, 10, 95, 50)])
    image[20:40, :, 0] = 255
    assert len(detect(tiled(cut="drop"), image)) == 0


def test_at_most_so_many_the_best():
    image = paint(*SIZE, SMALL)
    scores = detect(tiled(), image).scores
    assert torch.equal(detect(tiled(max_per_img=3), image).scores, scores[:3])


def test_tiles_come_in_batches_of_a_size():
    module = Painted()
    detect(tiled(module, batch_size=4), paint(*SIZE, SMALL))
    windows = tile_windows(*SIZE, (96, 96), (44, 44))
    assert [shape[0] for shape in module.seen] == [4, 4, 4][: len(windows) // 4] + (
        [len(windows) % 4] if len(windows) % 4 else []
    )
    assert {shape[2:] for shape in module.seen} == {(96, 96)}


def test_an_image_that_the_pipeline_has_resized_is_refused():
    data = pack(paint(*SIZE, SMALL))
    data["data_samples"][0].set_metainfo(dict(ori_shape=(50, 60)))
    with pytest.raises(ValueError, match=r"neither resize nor flip .* \(50, 60\) came with size"):
        tiled().test_step(data)


def test_a_detector_of_boxes_alone_is_refused():
    class Boxes(Painted):
        def predict(self, *args):
            samples = super().predict(*args)
            for sample in samples:
                del sample.pred_instances.masks
            return samples

    with pytest.raises(ValueError, match="must predict masks"):
        detect(tiled(Boxes()), paint(*SIZE, SMALL))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(tile_size=0), "tile_size must be one or two integers of at least 1, but is 0"),
        (dict(tile_size=(3, 4, 5)), "tile_size must be one or two integers of at least 1, but is"),
        (dict(tile_scale=(600,)), r"tile_scale must be .* but is \(600,\)"),
        (dict(overlap=96), "overlap must be less than tile_size, but is 96 of 96"),
        (dict(overlap=-1), "overlap must be one or two integers of at least 0, but is -1"),
        (dict(batch_size=0), "batch_size must be a positive integer, but is 0"),
        (dict(max_per_img=2.5), "max_per_img must be a positive integer, but is 2.5"),
        (dict(max_per_img=0), "max_per_img must be a positive integer, but is 0"),
        (dict(cut="merge"), "cut must be one of join, keep, drop, but is 'merge'"),
        (dict(ios_of="none"), "ios_of must be one of all, cut, but is 'none'"),
        (dict(join_thr=None), r"join_thr must be in \(0, 1\], but is None"),
        (dict(iou_thr=1.5), r"iou_thr must be in \(0, 1\], but is 1.5"),
        (dict(margin=0), "margin must be positive, but is 0"),
    ],
)
def test_a_wrong_setting_is_named(changes, message):
    with pytest.raises(ValueError, match=message):
        tiled(**changes)


def test_training_is_the_detectors():
    model = tiled()
    inputs = torch.ones(1, 3, 4, 4)
    assert model(inputs, mode="loss")["loss"] == 48
    assert model.data_preprocessor is model.module.data_preprocessor


def test_a_large_image_with_many_objects_takes_no_bitmaps(monkeypatch):
    side, spots = 1500, 12
    image = np.zeros((side, side, 3), dtype=np.uint8)
    for row, column in itertools.product(range(spots), repeat=2):
        y, x = 125 * row + 20, 125 * column + 20
        image[y : y + 30 + column, x : x + 30 + row, (row + column) % 2] = 255
    monkeypatch.setattr(EncodedMasks, "numpy", lambda self: pytest.fail("decoded all masks"))
    found = detect(tiled(tile_size=250, overlap=50, batch_size=1), image)
    assert len(found) == spots**2  # 0.3 GB of bitmaps
    assert sum(len(rle["counts"]) for rle in found.masks.rles) < 2**20
    np.testing.assert_array_equal(
        np.sort(found.masks.areas()),
        np.sort([(30 + row) * (30 + column) for row in range(spots) for column in range(spots)]),
    )


NAMES = ("mask_rcnn", "levelset_rcnn", "box_levelset")


@pytest.fixture(scope="module")
def photo():
    noise = np.random.default_rng(0).integers(0, 255, (12, 20, 3)).astype(np.uint8)
    return np.kron(noise, np.ones((8, 8, 1), dtype=np.uint8))


@pytest.mark.parametrize("name", NAMES)
def test_one_tile_of_a_real_detector_is_the_detectors_own(detectors, photo, name):
    plain = detect(detectors[name], photo)
    single = detect(tiled(detectors[name], tile_size=160), photo)
    assert len(plain) > 0 and sorted(plain.keys()) == sorted(single.keys())
    for key, values in plain.items():
        assert torch.equal(values, single[key])


@pytest.mark.parametrize("name", NAMES)
def test_without_merging_the_result_is_all_tiles_detections_shifted(detectors, photo, name):
    settings = dict(
        tile_size=(64, 96), overlap=32, cut="keep", iou_thr=None, ios_thr=None, batch_size=1
    )
    found = detect(tiled(detectors[name], **settings), photo)
    expected = []
    for left, top, right, bottom in tile_windows(96, 160, (64, 96), (32, 32)):
        own = detect(detectors[name], np.ascontiguousarray(photo[top:bottom, left:right]))
        for index in range(len(own)):
            mask = torch.zeros(96, 160, dtype=torch.bool)
            mask[top:bottom, left:right] = own.masks[index]
            if mask.any():
                box = own.bboxes[index] + torch.tensor([left, top, left, top])
                expected.append((float(own.scores[index]), mask, box))
    expected.sort(key=lambda detection: -detection[0])
    assert len(found) == len(expected) > 3
    np.testing.assert_allclose(found.scores, [score for score, _, _ in expected], atol=1e-6)
    assert found.scores.unique().numel() > 3
    actual = {
        (round(float(s), 5), m.tobytes()) for s, m in zip(found.scores, found.masks, strict=True)
    }
    wanted = {(round(score, 5), mask.numpy().tobytes()) for score, mask, _ in expected}
    assert len(actual & wanted) >= 0.98 * len(wanted)  # some scores round to another fifth digit
    strict = dict(tile_size=(64, 96), overlap=32, iou_thr=0.01, class_agnostic=True)
    merged = detect(tiled(detectors[name], **strict), photo)
    assert 0 < len(merged) < len(found)
    assert ("initial_masks" in merged) == (name == "levelset_rcnn")


def test_an_object_without_a_box_gets_its_masks():
    found = detect(tiled(NoBoxes()), paint(*SIZE, SMALL))
    np.testing.assert_array_equal(found.bboxes.numpy(), found.masks.boxes())


def evaluate(metric, sample):
    metric.dataset_meta = dict(classes=("a", "b"))
    metric.process({}, [sample.to_dict()])
    return metric.evaluate(1)


def sample_with_truth(image):
    """The tiled result of an image; its true objects are the painted areas."""
    (sample,) = tiled().test_step(pack(image))
    truth = whole(image)
    encoded = EncodedMasks.encode(truth.masks)
    sample.set_metainfo(
        dict(
            instances=[
                dict(bbox=box.tolist(), bbox_label=int(label), mask=rle, ignore_flag=0)
                for box, label, rle in zip(truth.bboxes, truth.labels, encoded.rles, strict=True)
            ]
        )
    )
    return sample


@pytest.mark.parametrize("metric", [CocoMetric, LevelSetCocoMetric])
def test_metrics_take_the_result(metric):
    sample = sample_with_truth(paint(*SIZE, [*SMALL, (0, 120, 10, 170, 90)]))
    sample.pred_instances.initial_masks = sample.pred_instances.masks[:]
    values = evaluate(metric(metric=["bbox", "segm"]), sample)
    assert values["coco/segm_mAP"] == values["coco/bbox_mAP"] == 1
    assert metric is CocoMetric or values["coco/initial_segm_mAP"] == 1


def test_visualizer_draws_the_result(tmp_path):
    image = paint(*SIZE, SMALL)
    (sample,) = tiled().test_step(pack(image))
    visualizer = DetLocalVisualizer(name=str(tmp_path))
    visualizer.dataset_meta = dict(classes=("a", "b"), palette=[(255, 0, 0), (0, 0, 255)])
    sample.pred_instances.bboxes.zero_()  # only masks are coloured
    visualizer.add_datasample("x", 0 * image, sample.cpu(), draw_gt=False, pred_score_thr=0)
    drawn = visualizer.get_image().any(-1)
    inside = whole(image).masks.any(0).numpy()
    assert drawn[inside].mean() > 0.95 and drawn.shape == inside.shape


def test_pictures_of_results_take_it():
    image = paint(*SIZE, SMALL)
    found, truth = detect(tiled(), image), whole(image)
    _, _, iou = match_masks(found.masks, truth.masks)
    assert iou.tolist() == [1] * len(SMALL)
    assert draw_comparison(image, {"tiled": found.masks}, truth.masks, size=64).ndim == 3


@pytest.fixture
def run(tmp_path):
    """A function that runs the test loop of a config in a few seconds."""

    def run(config, changes):
        config.work_dir = str(tmp_path)
        config.log_level = "WARNING"
        config.merge_from_dict(changes)
        config.experiment_name = config.visualizer.name = str(tmp_path)
        runner = Runner.from_cfg(config)
        return runner, runner.test()

    return run


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A checkpoint of the plain quickstart model."""
    path = tmp_path_factory.mktemp("checkpoint") / "plain.pth"
    model = quickstart("levelset-rcnn")
    torch.save(dict(state_dict=model.state_dict()), path)
    return path


def test_the_tiled_config_loads_the_plain_checkpoint_and_is_tested(run, checkpoint):
    config = Config.fromfile(TILED)
    config.load_from = str(checkpoint)
    config.model.max_per_img = 20
    config.model.module.test_cfg.rcnn.update(max_per_img=12, initial_masks=True)
    dataset = {"length": 1, "image_size": (160, 140), "num_objects": (2, 4)}
    runner, values = run(
        config, {f"test_dataloader.dataset.{key}": value for key, value in dataset.items()}
    )
    for name in ("bbox_mAP", "segm_mAP", "AF_1", "initial_segm_mAP"):
        assert 0 <= values[f"coco/{name}"] <= 1
    expected = torch.load(checkpoint)["state_dict"]
    for name, value in runner.model.module.state_dict().items():
        assert torch.equal(value, expected[name])
    load_checkpoint(runner.model, str(checkpoint), strict=True)


def test_the_test_command_writes_encoded_masks_as_they_are(tmp_path, monkeypatch):
    monkeypatch.setattr(EncodedMasks, "numpy", lambda self: pytest.fail("decoded all masks"))
    dump = make_dump(str(tmp_path / "out.pkl"))
    image = paint(*SIZE, SMALL)
    tiled_sample = tiled().test_step(pack(image))[0].to_dict()
    plain = Painted().test_step(pack(image))[0].to_dict()
    semantic = DetDataSample().to_dict()
    dump.process({}, [tiled_sample, plain, semantic])
    assert isinstance(tiled_sample["pred_instances"]["masks"], EncodedMasks)
    first, second, third = dump.results
    assert "pred_instances" not in third
    by_place = [
        {bytes(rle["counts"]) for rle in one["pred_instances"]["masks"]} for one in (first, second)
    ]
    assert by_place[0] == by_place[1] and len(by_place[0]) == len(SMALL)
