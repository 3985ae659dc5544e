import json
from pathlib import Path

import numpy as np
import pytest
import torch
from pycocotools import mask as mask_util

from mmlevelset.evaluation import LVISCocoMetric
from mmlevelset.registry import METRICS
from tests.evaluation.test_level_set_coco import (
    CLASSES,
    SIZE,
    coco_file,
    detections_of,
    disk,
    instance,
    random_samples,
    sample,
)

BIG, SMALL = disk(40, 40, 12), disk(12, 12, 8)


@pytest.fixture
def truth_of(tmp_path):
    """A function that writes the samples' truths in LVIS's format; category ids are label + 7."""

    def write(samples: list[dict], negative=(), not_exhaustive=(), **changes) -> str:
        path = Path(coco_file(samples, tmp_path / "lvis.json"))
        content = json.loads(path.read_text())
        for image in content["images"]:
            image["neg_category_ids"] = [label + 7 for label in negative]
            image["not_exhaustive_category_ids"] = [label + 7 for label in not_exhaustive]
        for annotation in content["annotations"]:
            del annotation["iscrowd"]
        path.write_text(json.dumps(content | changes))
        return str(path)

    return write


def evaluate(samples: list[dict], path: str, classes=CLASSES, **kwargs) -> dict:
    metric = LVISCocoMetric(ann_file=path, **kwargs)
    metric.dataset_meta = dict(classes=classes)
    metric.process({}, samples)
    return metric.evaluate(len(samples))


def one_object(masks: list, labels: list, scores: list, **kwargs) -> list[dict]:
    """An image with the small disk of class 0 as its truth, and with these predictions."""
    return [sample(1, [instance(SMALL, 0)], masks, labels, scores, **kwargs)]


def test_is_registered(truth_of):
    path = truth_of(one_object([SMALL], [0], [1.0]))
    metric = METRICS.build(dict(type="mmlevelset.LVISCocoMetric", ann_file=path))
    assert isinstance(metric, LVISCocoMetric)


@pytest.mark.parametrize(
    ("label", "negative", "not_exhaustive", "expected"),
    [
        # All objects of the category are annotated: the false detection ranks first, so that the
        # precision is 1/2 at every recall.
        (0, (), (), 0.5),
        # Some objects of the category may lack annotations: the false detection is ignored.
        (0, (), (0,), 1.0),
        # The false detection is of another category. That category has no truth and so no AP.
        (1, (), (), 1.0),
        (1, (1,), (), 1.0),
    ],
)
def test_a_false_detection_by_hand(truth_of, label, negative, not_exhaustive, expected):
    samples = one_object([BIG, SMALL], [label, 0], [0.9, 0.8])
    values = evaluate(samples, truth_of(samples, negative, not_exhaustive))
    assert values["lvis/segm_AP"] == values["lvis/segm_AP50"] == expected
    assert values["lvis/segm_APs"] == expected
    assert values["lvis/segm_APl"] == -1


@pytest.mark.parametrize(("negative", "expected"), [((), 1.0), ((0,), 0.5)])
def test_images_without_the_category_count_where_that_is_verified(truth_of, negative, expected):
    """The second image has class 1. Class 0 is falsely detected in it. The false detection counts
    only if the image is verified to have no class 0."""
    samples = [
        *one_object([SMALL], [0], [0.8]),
        sample(2, [instance(BIG, 1)], [SMALL, BIG], [0, 1], [0.9, 0.7]),
    ]
    path = Path(truth_of(samples))
    content = json.loads(path.read_text())
    content["images"][1]["neg_category_ids"] = [label + 7 for label in negative]
    path.write_text(json.dumps(content))
    values = evaluate(samples, str(path), metric=["bbox", "segm"])
    for kind in ("bbox", "segm"):
        assert values[f"lvis/{kind}_AP"] == (expected + 1) / 2


def test_three_hundred_detections_of_all_categories(truth_of):
    """As in LVIS's code, detections of categories that do not count in the image are among the
    300."""
    others = [BIG] * 300
    samples = one_object([*others, SMALL], [1] * 300 + [0], [0.9] * 300 + [0.1])
    assert evaluate(samples, truth_of(samples))["lvis/segm_AP"] == 0
    samples = one_object([*others[:299], SMALL], [1] * 299 + [0], [0.9] * 299 + [0.1])
    assert evaluate(samples, truth_of(samples))["lvis/segm_AP"] == 1
    # More than COCO's 100 detections count: the last of 300 is the true one, precision 1/300.
    samples = one_object([*others[:299], SMALL], [0] * 300, [0.9] * 299 + [0.1])
    assert evaluate(samples, truth_of(samples))["lvis/segm_AP"] == round(1 / 300, 3)


def test_iou_thresholds_by_hand(truth_of):
    """A 20 x 20 square is found 2 pixels off: IoU 360/440 = 0.818 counts at seven of ten
    thresholds."""
    square, shifted = np.zeros((2, SIZE, SIZE), bool)
    square[10:30, 10:30] = shifted[10:30, 12:32] = True
    samples = [sample(1, [instance(square, 0)], [shifted], [0], [1.0], initial=[square])]
    values = evaluate(samples, truth_of(samples))
    names = ("AP", "AP50", "AP75", "APs", "APm", "APl")
    expected = dict(zip(names, (0.7, 1, 1, 0.7, -1, -1), strict=True))
    assert values == {f"lvis/segm_{name}": value for name, value in expected.items()} | {
        f"lvis/initial_segm_{name}": min(1, np.ceil(value)) for name, value in expected.items()
    }


def test_frequencies(truth_of):
    samples = [
        *one_object([SMALL], [0], [0.8]),
        sample(2, [instance(BIG, 1)], [], [], []),
    ]
    categories = [
        dict(id=label + 7, name=name, frequency=frequency)
        for label, (name, frequency) in enumerate(zip(CLASSES, "ccf", strict=True))
    ]
    values = evaluate(samples, truth_of(samples, categories=categories))
    assert values["lvis/segm_AP"] == values["lvis/segm_APc"] == 0.5
    assert values["lvis/segm_APr"] == values["lvis/segm_APf"] == -1


def test_classes_and_images_without_annotations_count_nothing(truth_of):
    annotated = one_object([SMALL], [0], [0.5])
    categories = [dict(id=7, name="disk")]
    path = truth_of(annotated, categories=categories)
    # The file has only "disk", the model's label 1; the model's label 0 is not in the file.
    model = ("blob", "disk")
    annotated[0]["pred_instances"]["labels"] += 1
    values = evaluate(annotated, path, model)
    assert values["lvis/segm_AP"] == 1
    more = one_object([BIG, SMALL], [0, 1], [0.9, 0.5])
    more.append(sample(99, [], [BIG, SMALL], [1, 1], [0.9, 0.8]))
    assert evaluate(more, path, model) == values


def test_no_predictions_score_zero(truth_of):
    samples = one_object([], [], [])
    assert evaluate(samples, truth_of(samples))["lvis/segm_AP"] == 0


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", ["segm", "bbox"])
def test_equals_the_lvis_package(truth_of, monkeypatch, seed, kind):
    lvis = pytest.importorskip("lvis")
    # lvis 0.5.3 uses np.float, which NumPy 1.24 removed.
    monkeypatch.setattr(np, "float", float, raising=False)
    rng = np.random.default_rng(seed)
    samples = random_samples(seed, images=20)
    for image in samples:
        for truth in image["instances"]:
            truth["ignore_flag"] = 0
        labels = image["pred_instances"]["labels"]
        labels[torch.from_numpy(rng.random(len(labels)) < 0.3)] = 2
    path = Path(truth_of(samples))
    content = json.loads(path.read_text())
    for image in content["images"]:
        present = {a["category_id"] for a in content["annotations"] if a["image_id"] == image["id"]}
        absent = [category for category in (7, 8, 9) if category not in present]
        image["neg_category_ids"] = [c for c in absent if rng.random() < 0.5]
        image["not_exhaustive_category_ids"] = [c for c in (7, 8, 9) if rng.random() < 0.4]
    for category, frequency in zip(content["categories"], "rcf", strict=True):
        category["frequency"] = frequency
    path.write_text(json.dumps(content))

    detections = detections_of(samples)
    if kind == "bbox":
        for detection in detections:
            detection["bbox"] = mask_util.toBbox(detection.pop("segmentation")).tolist()
    truth = lvis.LVIS(str(path))
    evaluation = lvis.LVISEval(truth, lvis.LVISResults(truth, detections), kind)
    evaluation.run()
    values = evaluate(samples, str(path), metric=kind)
    assert 0.1 < values[f"lvis/{kind}_AP"] < 0.9
    assert values == {
        f"lvis/{kind}_{name}": pytest.approx(value, abs=5.1e-4)
        for name, value in evaluation.get_results().items()
        if name.startswith("AP")
    }


def test_errors_name_what_is_wrong(truth_of):
    samples = one_object([SMALL], [0], [1.0])
    with pytest.raises(ValueError, match="metric must be 'segm', 'bbox' or both, got 'proposal'"):
        LVISCocoMetric(ann_file=truth_of(samples), metric="proposal")
    with pytest.raises(ValueError, match="but the data set has no class blob"):
        evaluate(samples, truth_of(samples), classes=("disk", "absent"))
    two = [*samples, sample(5, [instance(BIG, 0)], [], [], [])]
    with pytest.raises(ValueError, match="must be predicted, but 1 were not, image 5"):
        evaluate(samples, truth_of(two))
    images = [dict(id=1, width=SIZE, height=SIZE, neg_category_ids=[])]
    with pytest.raises(ValueError, match="key 'not_exhaustive_category_ids' .* image 1 lacks it"):
        LVISCocoMetric(ann_file=truth_of(samples, images=images))
