import importlib.util
import json
import pickle

import numpy as np
import pytest
import torch
from mmdet.evaluation.metrics import CocoMetric
from pycocotools import mask as mask_util
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from scipy import ndimage

from mmlevelset.evaluation import LevelSetCocoMetric, boundary_f1
from mmlevelset.registry import METRICS

CLASSES = ("disk", "blob", "absent")
SIZE = 64
AP_KEYS = ["mAP", "mAP_50", "mAP_75", "mAP_s", "mAP_m", "mAP_l"]
BOUNDARY_KEYS = ["AF_1", "AF_2", "BF_1", "BF_2"]


def encode(mask: np.ndarray) -> dict:
    return mask_util.encode(np.asfortranarray(mask.astype(np.uint8)))


def box(mask: np.ndarray) -> list[float]:
    y, x = mask.nonzero()
    return [float(v) for v in (x.min(), y.min(), x.max() + 1, y.max() + 1)]


def disk(x: float, y: float, radius: float) -> np.ndarray:
    row, column = np.mgrid[:SIZE, :SIZE] + 0.5
    return (column - x) ** 2 + (row - y) ** 2 < radius**2


def instance(mask: np.ndarray, label: int, ignore: int = 0) -> dict:
    return dict(bbox=box(mask), bbox_label=label, mask=encode(mask), ignore_flag=ignore)


def sample(img_id, truths: list[dict], masks, labels, scores, initial=None) -> dict:
    masks = np.reshape(masks, (-1, SIZE, SIZE)).astype(bool)
    pred = dict(
        bboxes=torch.tensor([box(mask) for mask in masks]).reshape(-1, 4),
        labels=torch.tensor(labels, dtype=torch.long),
        scores=torch.tensor(scores, dtype=torch.float32),
        masks=torch.from_numpy(masks),
    )
    if initial is not None:
        initial = np.reshape(initial, (-1, SIZE, SIZE)).astype(bool)
        pred["initial_masks"] = torch.from_numpy(initial)
    return dict(img_id=img_id, ori_shape=(SIZE, SIZE), instances=truths, pred_instances=pred)


def random_samples(seed: int = 0, images: int = 12, initial: bool = False) -> list[dict]:
    """Images of objects of two classes, and predictions that are displaced, ragged, doubled,
    missing or of the wrong class."""
    generator = np.random.default_rng(seed)
    samples = []
    for img_id in range(images):
        truths, masks, labels, scores = [], [], [], []
        for _ in range(generator.integers(0, 5)):
            x, y = generator.uniform(12, SIZE - 12, 2)
            radius, label = generator.uniform(4, 16), int(generator.integers(2))
            truths.append(instance(disk(x, y, radius), label, int(generator.random() < 0.15)))
            for _ in range(generator.integers(0, 3)):
                dx, dy, dr = generator.normal(scale=0.9, size=3)
                mask = disk(x + dx, y + dy, max(radius + dr, 2))
                ragged = ndimage.gaussian_filter(generator.normal(size=mask.shape), 1.5) > 0.25
                mask &= ~(ragged & ~ndimage.binary_erosion(mask, iterations=2)) | (dx > 0)
                masks.append(mask)
                labels.append(label if generator.random() < 0.9 else 1 - label)
                scores.append(generator.random())
        first = [ndimage.binary_erosion(mask) | disk(32, 32, 2) for mask in masks]
        samples.append(
            sample(img_id, truths, masks, labels, scores, initial=first if initial else None)
        )
    return samples


def evaluate(samples: list[dict], kind: type = LevelSetCocoMetric, **kwargs) -> dict:
    evaluator = kind(**{"metric": ["bbox", "segm"], **kwargs})
    evaluator.dataset_meta = dict(classes=CLASSES)
    evaluator.process({}, samples)
    return evaluator.evaluate(len(samples))


def coco_file(samples: list[dict], path, polygons: bool = False) -> str:
    annotations = []
    for image in samples:
        for truth in image["instances"]:
            mask = mask_util.decode(truth["mask"])
            x1, y1, x2, y2 = truth["bbox"]
            rle = {**truth["mask"], "counts": truth["mask"]["counts"].decode()}
            annotations.append(
                dict(
                    id=len(annotations) + 1,
                    image_id=image["img_id"],
                    category_id=truth["bbox_label"] + 7,
                    iscrowd=truth["ignore_flag"],
                    bbox=[x1, y1, x2 - x1, y2 - y1],
                    area=float(mask.sum()),
                    segmentation=[[x1, y1, x2, y1, x2, y2, x1, y2]] if polygons else rle,
                )
            )
    data = dict(
        images=[dict(id=s["img_id"], width=SIZE, height=SIZE, file_name="") for s in samples],
        categories=[dict(id=i + 7, name=name) for i, name in enumerate(CLASSES)],
        annotations=annotations,
    )
    path.write_text(json.dumps(data))
    return str(path)


def average_f1_by_definition(samples: list[dict], key: str = "masks") -> dict[str, float]:
    """AF and BF by loops over classes, thresholds and detections, with masks as arrays."""
    per_pair, loose = [], []
    for label in range(len(CLASSES)):
        known = [t for s in samples for t in s["instances"] if t["bbox_label"] == label]
        if not any(not t["ignore_flag"] for t in known):
            continue
        for step in range(10):
            threshold = 0.5 + 0.05 * step
            found = []
            for image in samples:
                pred = image["pred_instances"]
                truths = [t for t in image["instances"] if t["bbox_label"] == label]
                # COCO matches objects before crowds.
                truths = sorted(truths, key=lambda t: t["ignore_flag"])
                free = set(range(len(truths)))
                order = sorted(range(len(pred["scores"])), key=lambda i: -float(pred["scores"][i]))
                for i in order:
                    if int(pred["labels"][i]) != label:
                        continue
                    mask = pred[key][i].numpy()
                    best, best_iou = None, threshold - 1e-9
                    for j, truth in enumerate(truths):
                        other = mask_util.decode(truth["mask"]).astype(bool)
                        if truth["ignore_flag"] or j not in free:
                            continue
                        iou = (mask & other).sum() / (mask | other).sum()
                        if iou >= best_iou:
                            best, best_iou = j, iou
                    if best is not None:
                        free.remove(best)
                        other = mask_util.decode(truths[best]["mask"]).astype(bool)
                        found.append(boundary_f1(mask, other))
            per_pair.append(np.mean(found, axis=0) if found else np.zeros(2))
            if step == 0:
                loose += found
    values = [*np.mean(per_pair, axis=0), *np.mean(loose, axis=0)]
    return dict(zip(BOUNDARY_KEYS, map(float, values), strict=True))


def test_is_registered():
    metric = METRICS.build(dict(type="mmlevelset.LevelSetCocoMetric", metric=["bbox", "segm"]))
    assert isinstance(metric, LevelSetCocoMetric)


def test_perfect_predictions_score_one():
    masks = [disk(20, 20, 9), disk(44, 40, 12)]
    truths = [instance(masks[0], 0), instance(masks[1], 1)]
    values = evaluate([sample(5, truths, masks, [0, 1], [0.9, 0.8], initial=masks)])
    for prefix in ("", "initial_"):
        for key in BOUNDARY_KEYS:
            assert values[f"coco/{prefix}{key}"] == 1
        assert values[f"coco/{prefix}segm_mAP"] == 1
    assert values["coco/bbox_mAP"] == 1
    assert "coco/initial_bbox_mAP" not in values


def test_average_f1_by_hand():
    """A 20 x 20 square predicted 2 pixels off: IoU 360/440 = 0.818, a true positive at seven of
    the ten thresholds. F1 at 1 pixel is (2 * (21 - 2 + 1) + 2) / 80 = 0.525, at 2 pixels 1."""
    square, shifted = np.zeros((2, SIZE, SIZE), bool)
    square[10:30, 10:30] = shifted[10:30, 12:32] = True
    other = disk(45, 45, 9)
    image = sample(0, [instance(square, 0), instance(other, 1)], [shifted, other], [0, 1], [0.9, 1])
    values = evaluate([image], classwise=True)
    assert values["coco/disk_AF_1"] == pytest.approx(0.7 * 0.525)
    assert values["coco/disk_AF_2"] == pytest.approx(0.7)
    assert values["coco/blob_AF_1"] == 1
    assert np.isnan(values["coco/absent_AF_1"])
    assert values["coco/AF_1"] == pytest.approx((0.7 * 0.525 + 1) / 2, abs=1e-4)
    assert values["coco/BF_1"] == pytest.approx((0.525 + 1) / 2, abs=1e-4)
    assert values["coco/BF_2"] == 1


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_average_f1_equals_the_definition(seed):
    samples = random_samples(seed, initial=True)
    values = evaluate(samples)
    for prefix, key in (("", "masks"), ("initial_", "initial_masks")):
        expected = average_f1_by_definition(samples, key)
        assert 0.1 < expected["AF_1"] < 0.9
        for name, value in expected.items():
            assert values[f"coco/{prefix}{name}"] == pytest.approx(value, abs=6e-5)


def test_ap_equals_the_stock_metric(tmp_path):
    samples = random_samples(3, initial=True)
    path = coco_file(samples, tmp_path / "truth.json")
    stock = evaluate(samples, CocoMetric, ann_file=path, classwise=True)
    ours = evaluate(samples, ann_file=path, classwise=True)
    assert len(stock) > 12
    for name, value in stock.items():
        assert ours[name] == pytest.approx(value, nan_ok=True), name

    for image in samples:
        image["pred_instances"]["masks"] = image["pred_instances"]["initial_masks"]
    stock = evaluate(samples, CocoMetric, ann_file=path)
    for name in AP_KEYS:
        assert ours[f"coco/initial_segm_{name}"] == stock[f"coco/segm_{name}"]


def test_ground_truth_of_samples_and_of_a_file_agree(tmp_path):
    """The areas agree too: both are the masks' areas."""
    samples = random_samples(4, initial=True)
    from_file = evaluate(samples, ann_file=coco_file(samples, tmp_path / "truth.json"))
    from_samples = evaluate(samples)
    assert from_samples == from_file
    # A disk of radius 17 has an area of 908 < 32^2 while its box has 34^2 > 32^2.
    mask = disk(30, 30, 17)
    values = evaluate([sample(0, [instance(mask, 0)], [mask], [0], [1.0])])
    assert values["coco/segm_mAP_s"] == 1
    assert values["coco/segm_mAP_m"] == -1


@pytest.mark.parametrize("coco_eval", ["pycocotools", "faster-coco-eval"])
def test_ids_that_count_from_zero(tmp_path, coco_eval):
    if coco_eval != "pycocotools":
        pytest.importorskip("faster_coco_eval")
    samples = random_samples(4)
    path = tmp_path / "truth.json"
    options = dict(ann_file=coco_file(samples, path), boundary_ap=True, coco_eval=coco_eval)
    from_one = evaluate(samples, **options)
    content = json.loads(path.read_text())
    for number, annotation in enumerate(content["annotations"]):
        annotation["id"] = number
    path.write_text(json.dumps(content))
    assert evaluate(samples, **options) == from_one


def test_polygon_ground_truth(tmp_path):
    square = np.zeros((SIZE, SIZE), bool)
    square[10:30, 12:40] = True
    samples = [sample(0, [instance(square, 0)], [square], [0], [0.9])]
    path = coco_file(samples, tmp_path / "truth.json", polygons=True)
    values = evaluate(samples, ann_file=path)
    assert values["coco/segm_mAP"] == 1
    assert values["coco/AF_1"] == 1


def test_predictions_without_initial_masks_have_the_same_keys_but_the_initial():
    plain = evaluate(random_samples(5))
    full = evaluate(random_samples(5, initial=True))
    assert set(plain) == {name for name in full if "initial" not in name}
    assert set(plain) == {
        *(f"coco/{kind}_{key}" for kind in ("bbox", "segm") for key in AP_KEYS),
        *(f"coco/{key}" for key in BOUNDARY_KEYS),
    }
    assert all(full[name] == value for name, value in plain.items())


@pytest.mark.parametrize("from_file", [False, True])
def test_no_predictions_score_zero(tmp_path, from_file):
    truth = [instance(disk(30, 30, 9), 0)]
    samples = [sample(i, truth, [], [], [], initial=[]) for i in range(3)]
    kwargs = dict(ann_file=coco_file(samples, tmp_path / "t.json")) if from_file else {}
    values = evaluate(samples, classwise=True, **kwargs)
    full = evaluate(random_samples(5, initial=True), classwise=True)
    assert set(values) == set(full)
    for prefix in ("", "initial_"):
        for key in (*BOUNDARY_KEYS, "segm_mAP", "segm_mAP_50", "disk_AF_1"):
            assert values[f"coco/{prefix}{key}"] == 0
    assert values["coco/bbox_mAP"] == 0


def test_no_ground_truth_is_minus_one():
    values = evaluate([sample(0, [], [disk(30, 30, 9)], [0], [0.5])])
    assert set(values.values()) == {-1}
    empty = evaluate([sample(0, [], [], [], [])])
    assert set(empty.values()) == {-1}


def test_images_without_objects_change_only_ap():
    samples = random_samples(6)
    extra = sample(1000, [], [disk(30, 30, 9)], [0], [0.99])
    before, after = evaluate(samples), evaluate([*samples, extra])
    for key in BOUNDARY_KEYS:
        assert after[f"coco/{key}"] == before[f"coco/{key}"] > 0
    assert after["coco/segm_mAP"] < before["coco/segm_mAP"]


def test_at_most_one_hundred_detections():
    mask = disk(30, 30, 9)
    noise = [disk(8, 8, 5)] * 100
    image = sample(0, [instance(mask, 0)], [*noise, mask], [0] * 101, [0.9] * 100 + [0.1])
    assert evaluate([image])["coco/AF_1"] == 0
    image["pred_instances"]["scores"][100] = 1
    assert evaluate([image])["coco/AF_1"] == 1


def test_one_metric_object_evaluates_many_times():
    metric = LevelSetCocoMetric(metric=["bbox", "segm"])
    metric.dataset_meta = dict(classes=CLASSES)
    for seed in (7, 8, 7):
        samples = random_samples(seed, images=5 + seed, initial=True)
        metric.process({}, samples[:4])
        metric.process({}, samples[4:])
        assert metric.evaluate(len(samples)) == evaluate(samples)


def test_results_are_small_and_can_be_pickled():
    metric = LevelSetCocoMetric(metric=["segm"])
    metric.process({}, random_samples(9, images=2, initial=True))
    again = pickle.loads(pickle.dumps(metric.results))
    metric.dataset_meta = dict(classes=CLASSES)
    assert metric.compute_metrics(again) == metric.compute_metrics(metric.results)
    assert len(pickle.dumps(metric.results)) < 20_000


def test_box_metric_alone_has_no_mask_values():
    values = evaluate(random_samples(10, initial=True), metric="bbox")
    assert set(values) == {f"coco/bbox_{key}" for key in AP_KEYS}


def test_other_tolerances_and_metric_items():
    values = evaluate(
        random_samples(11), metric="segm", boundary_tolerances=[3], metric_items=["mAP"]
    )
    assert set(values) == {"coco/segm_mAP", "coco/AF_3", "coco/BF_3"}


def test_format_only_writes_both_kinds_of_masks(tmp_path):
    prefix = str(tmp_path / "out")
    samples = random_samples(12, initial=True)
    assert evaluate(samples, format_only=True, outfile_prefix=prefix) == {}
    final = json.loads((tmp_path / "out.segm.json").read_text())
    initial = json.loads((tmp_path / "out.initial.segm.json").read_text())
    assert len(final) == len(initial) > 0
    assert final != initial


@pytest.mark.parametrize("tolerances", [(), (-1,), ("one",)])
def test_bad_tolerances(tolerances):
    with pytest.raises(ValueError, match="boundary_tolerances must be numbers of pixels"):
        LevelSetCocoMetric(boundary_tolerances=tolerances)


def test_instances_without_mask_are_named():
    truth = instance(disk(30, 30, 9), 0)
    del truth["mask"]
    with pytest.raises(ValueError, match="image 3 must have a mask"):
        evaluate([sample(3, [truth], [disk(30, 30, 9)], [0], [0.5])])


def test_nothing_to_evaluate():
    with pytest.raises(ValueError, match="no result to evaluate"):
        LevelSetCocoMetric(metric="segm").compute_metrics([])


def test_extra_ious_by_hand():
    """Two 20 x 20 squares are found with IoU 360/440 = 0.818 and 200/600 = 0.333. A false
    detection has the highest score. At 0.25 both squares count, so the precision is 2/3 at all
    recalls. At 0.70 one square counts: recalls 0 to 0.50, 51 of 101, have precision 1/2."""
    truths, found = np.zeros((2, 2, SIZE, SIZE), bool)
    truths[0, 10:30, 10:30] = found[0, 10:30, 12:32] = True
    truths[1, 34:54, 34:54] = found[1, 34:54, 44:64] = True
    wrong = np.zeros((SIZE, SIZE), bool)
    wrong[:8, 50:] = True
    masks = [*found, wrong]
    image = sample(0, [instance(m, 0) for m in truths], masks, [0] * 3, [0.9, 0.8, 1.0], masks)
    values = evaluate([image], extra_ious=(0.25, 0.33, 0.34, 0.7))
    for kind in ("bbox", "segm", "initial_segm"):
        for name, expected in (("25", 2 / 3), ("33", 2 / 3), ("34", 25.5 / 101)):
            assert values[f"coco/{kind}_mAP_{name}"] == round(expected, 3)
        assert values[f"coco/{kind}_mAP_70"] == round(25.5 / 101, 3)
        assert values[f"coco/{kind}_mAP"] == round(0.7 * 25.5 / 101, 3)


def test_the_thresholds_of_the_papers_by_hand():
    """AP25, AP50, AP70 and AP75 over two classes. Papers also call AP50 and AP70 mAP^r.

    First class: two squares are found with IoU 340/460 = 0.739 and 0.333, and a false detection
    has the highest score. Precision is 2/3 at all recalls at IoU 0.25, and 1/2 at 51 of 101
    recalls at IoU 0.50 and 0.70. Second class: a square is found with IoU 360/440 = 0.818, which
    counts at all four thresholds."""
    truths, found = np.zeros((2, 3, SIZE, SIZE), bool)
    truths[0, 10:30, 10:30] = found[0, 10:30, 13:33] = True
    truths[1, 34:54, 34:54] = found[1, 34:54, 44:64] = True
    truths[2, 40:60, 5:25] = found[2, 38:58, 5:25] = True
    wrong = np.zeros((SIZE, SIZE), bool)
    wrong[:8, 50:] = True
    labels = [0, 0, 1]
    image = sample(
        0,
        [instance(mask, label) for mask, label in zip(truths, labels, strict=True)],
        [*found, wrong],
        [*labels, 0],
        [0.9, 0.8, 0.7, 1.0],
    )
    values = evaluate([image], metric="segm", extra_ious=(0.25, 0.5, 0.7, 0.75))
    for name, first in (("25", 2 / 3), ("50", 25.5 / 101), ("70", 25.5 / 101), ("75", 0)):
        assert values[f"coco/segm_mAP_{name}"] == pytest.approx((first + 1) / 2, abs=5.1e-4)


def detections_of(samples: list[dict]) -> list[dict]:
    """The samples' masks as pycocotools reads them, with the categories of ``coco_file``."""
    detections = []
    for image in samples:
        pred = image["pred_instances"]
        for mask, label, score in zip(pred["masks"], pred["labels"], pred["scores"], strict=True):
            detections.append(
                dict(
                    image_id=image["img_id"],
                    category_id=int(label) + 7,
                    score=float(score),
                    segmentation=encode(mask.numpy()),
                )
            )
    return detections


def ap_of_pycocotools(path: str, samples: list[dict], cat_ids: list[int], iou: float) -> float:
    """AP of pycocotools with its own defaults."""
    truth = COCO(path)
    evaluation = COCOeval(truth, truth.loadRes(detections_of(samples)), "segm")
    evaluation.params.catIds = cat_ids
    evaluation.params.iouThrs = np.array([iou])
    evaluation.evaluate()
    evaluation.accumulate()
    precision = evaluation.eval["precision"][0, :, :, 0, -1]
    return precision[precision > -1].mean()


@pytest.mark.parametrize("classes", [CLASSES, ("blob",), ("disk", "absent")])
def test_extra_ious_equal_pycocotools(tmp_path, classes):
    samples = random_samples(13)
    path = coco_file(samples, tmp_path / "truth.json")
    # Labels count the chosen classes in the order of the file's categories.
    labels = [label for label, name in enumerate(CLASSES) if name in classes]
    for image in samples:
        pred = image["pred_instances"]
        kept = torch.isin(pred["labels"], torch.tensor(labels))
        image["pred_instances"] = {name: value[kept] for name, value in pred.items()}
    ious = (0.25, 0.7, 0.85)
    cat_ids = [label + 7 for label in labels]
    expected = [ap_of_pycocotools(path, samples, cat_ids, iou) for iou in ious]
    assert 0 < expected[2] < expected[1] < expected[0]

    for image in samples:
        image["pred_instances"]["labels"].apply_(labels.index)
    metric = LevelSetCocoMetric(ann_file=path, metric="segm", extra_ious=ious)
    metric.dataset_meta = dict(classes=classes)
    metric.process({}, samples)
    values = metric.evaluate(len(samples))
    for iou, ap in zip(ious, expected, strict=True):
        assert values[f"coco/segm_mAP_{round(100 * iou)}"] == pytest.approx(ap, abs=5.1e-4)


@pytest.mark.parametrize("classes", [CLASSES[::-1], ("absent", "disk")])
def test_labels_must_be_what_the_ground_truth_calls_them(tmp_path, classes):
    samples = random_samples(3)
    metric = LevelSetCocoMetric(ann_file=coco_file(samples, tmp_path / "truth.json"), metric="segm")
    metric.dataset_meta = dict(classes=classes)
    metric.process({}, samples)
    with pytest.raises(ValueError, match=rf"but classes\[0\] is '{classes[0]}'"):
        metric.evaluate(len(samples))


@pytest.mark.parametrize("coco_eval", ["pycocotools", "faster-coco-eval"])
def test_more_than_a_hundred_objects_of_a_class(coco_eval):
    if coco_eval != "pycocotools":
        pytest.importorskip("faster_coco_eval")
    # All of 104 squares of 3 x 3 are found. The best 100 are 96.2% of them: 97 of 101 recalls.
    corners = [(5 * i, 5 * j) for i in range(8) for j in range(13)]
    masks = np.zeros((104, SIZE, SIZE), bool)
    for mask, (x, y) in zip(masks, corners, strict=True):
        mask[y : y + 3, x : x + 3] = True
    truths = [instance(mask, 0, 0) for mask in masks]
    image = sample(0, truths, masks, [0] * 104, np.linspace(0.9, 0.1, 104))
    options = dict(extra_ious=(0.25,), boundary_ap=True, coco_eval=coco_eval)
    values = evaluate([image], **options)
    hundred, names = pytest.approx(97 / 101, abs=5.1e-4), ("segm_mAP", "boundary_mAP")
    assert [values[f"coco/{name}"] for name in names] == [hundred] * 2
    assert [values[f"coco/segm_mAP_{iou}"] for iou in (25, 50, 75)] == [1, 1, 1]
    for count, ap in (100, hundred), (104, 1), (500, 1):
        limited = evaluate([image], max_dets=count, **options)
        names = ("segm_mAP", "bbox_mAP", "boundary_mAP", "segm_mAP_25", "segm_mAP_50", "segm_mAP_s")
        assert [limited[f"coco/{name}"] for name in names] == [ap] * len(names), count
    for wrong in (99, 150.0):
        with pytest.raises(ValueError, match="max_dets must be None or a number of at least 100"):
            LevelSetCocoMetric(max_dets=wrong)


def test_extra_ious_leave_the_other_values_alone():
    samples = random_samples(14, initial=True)
    plain, more = evaluate(samples), evaluate(samples, extra_ious=[0.5, 0.6, 0.75])
    added = {f"coco/{kind}_mAP_60" for kind in ("bbox", "segm", "initial_segm")}
    assert set(more) == set(plain) | added
    assert {name: more[name] for name in plain} == plain
    alone = evaluate(samples, extra_ious=[0.5, 0.75], metric_items=["mAP"])
    for name in ("bbox_mAP_50", "segm_mAP_75", "initial_segm_mAP_50"):
        assert 0 < alone[f"coco/{name}"] == plain[f"coco/{name}"]


def test_extra_ious_without_predictions_or_ground_truth():
    truth = [instance(disk(30, 30, 9), 0)]
    missed = evaluate([sample(0, truth, [], [], [], initial=[])], extra_ious=[0.25])
    empty = evaluate([sample(0, [], [disk(30, 30, 9)], [0], [0.5])], extra_ious=[0.25])
    for kind in ("bbox", "segm"):
        assert missed[f"coco/{kind}_mAP_25"] == 0
        assert empty[f"coco/{kind}_mAP_25"] == -1
    assert missed["coco/initial_segm_mAP_25"] == 0


def test_extra_ious_are_those_of_the_metrics_asked_for():
    samples = random_samples(15, images=3)
    assert "coco/bbox_mAP_25" not in evaluate(samples, metric="segm", extra_ious=[0.25])
    boxes = evaluate(samples, metric="bbox", extra_ious=[0.25])
    assert "coco/bbox_mAP_25" in boxes and "coco/segm_mAP_25" not in boxes


@pytest.mark.parametrize(
    "ious", [0.25, (0,), (1.5,), ("0.25",), (0.255,), (0.001,), (0.25, 0.25), (float("nan"),)]
)
def test_bad_extra_ious(ious):
    with pytest.raises(ValueError, match="extra_ious must be a sequence of different IoUs"):
        LevelSetCocoMetric(metric="segm", extra_ious=ious)


def test_extra_ious_need_boxes_or_masks():
    with pytest.raises(ValueError, match=r"extra_ious needs .*\['proposal'\]"):
        LevelSetCocoMetric(metric="proposal", extra_ious=[0.25])


def test_boundary_ap_by_hand():
    """The diagonal is 90.5, so the bands are 2 wide. A 20 x 30 rectangle 1 pixel off has mask IoU
    570/630 = 0.905. Each band has 600 - 16 x 26 = 184 pixels. The bands share 19 x 30 - 17 x 26 =
    128 of 240 pixels: the boundary IoU is 0.533, which counts at one threshold. The other class
    is found exactly."""
    truth, shifted = np.zeros((2, SIZE, SIZE), bool)
    truth[10:40, 10:30] = shifted[10:40, 11:31] = True
    other = disk(48, 48, 9)
    masks = [shifted, other]
    image = sample(0, [instance(truth, 0), instance(other, 1)], masks, [0, 1], [0.9, 1], masks)
    values = evaluate([image], boundary_ap=True)
    for prefix in ("coco/", "coco/initial_"):
        assert values[f"{prefix}segm_mAP"] == (0.9 + 1) / 2
        assert values[f"{prefix}boundary_mAP"] == (0.1 + 1) / 2
        assert values[f"{prefix}boundary_mAP_s"] == (0.1 + 1) / 2
        assert values[f"{prefix}boundary_mAP_50"] == 1
        assert values[f"{prefix}boundary_mAP_75"] == 0.5
        assert values[f"{prefix}boundary_mAP_m"] == values[f"{prefix}boundary_mAP_l"] == -1


class BoundaryByDefinition(COCOeval):
    """The minimum of mask IoU and boundary IoU for every pair, on whole masks."""

    def computeIoU(self, imgId, catId):
        truths = self._gts[imgId, catId]
        found = sorted(self._dts[imgId, catId], key=lambda detection: -detection["score"])
        ious = np.zeros((len(found), len(truths)))
        for i, j in np.ndindex(*ious.shape):
            pair = [mask_util.decode(a["segmentation"]).astype(bool) for a in (found[i], truths[j])]
            bands = [mask & ~ndimage.binary_erosion(mask, np.ones((5, 5))) for mask in pair]
            ious[i, j] = (pair[0] & pair[1]).sum() / (pair[0] | pair[1]).sum()
            if truths[j]["iscrowd"]:
                ious[i, j] = (pair[0] & pair[1]).sum() / pair[0].sum()
            else:
                ious[i, j] = min(
                    ious[i, j], (bands[0] & bands[1]).sum() / (bands[0] | bands[1]).sum()
                )
        return ious


@pytest.mark.parametrize("seed", [16, 17])
def test_boundary_ap_equals_the_definition(tmp_path, seed):
    samples = random_samples(seed)
    path = coco_file(samples, tmp_path / "truth.json")
    values = evaluate(samples, ann_file=path, boundary_ap=True)
    truth = COCO(path)
    evaluation = BoundaryByDefinition(truth, truth.loadRes(detections_of(samples)), "segm")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    for name, expected in zip(AP_KEYS, evaluation.stats, strict=False):
        assert values[f"coco/boundary_{name}"] == pytest.approx(expected, abs=5.1e-4)
    assert 0 < values["coco/boundary_mAP"] < values["coco/segm_mAP"]
    plain = evaluate(samples, ann_file=path)
    assert {name: values[name] for name in plain} == plain


def test_boundary_ap_without_predictions_or_ground_truth():
    truth = [instance(disk(30, 30, 9), 0)]
    missed = evaluate([sample(0, truth, [], [], [])], boundary_ap=True, metric_items=["mAP"])
    assert missed["coco/boundary_mAP"] == 0
    assert "coco/boundary_mAP_50" not in missed
    empty = evaluate([sample(0, [], [disk(30, 30, 9)], [0], [0.5])], boundary_ap=True)
    assert set(empty.values()) == {-1}


def test_boundary_ap_needs_masks():
    with pytest.raises(ValueError, match=r"boundary_ap needs 'segm' in metric, .* \['bbox'\]"):
        LevelSetCocoMetric(metric="bbox", boundary_ap=True)


class TestFasterCocoEval:
    @pytest.fixture(autouse=True)
    def installed(self):
        pytest.importorskip("faster_coco_eval")

    @pytest.mark.parametrize("seed", [18, 19])
    @pytest.mark.parametrize("from_file", [False, True])
    def test_values_are_those_of_pycocotools(self, tmp_path, seed, from_file):
        samples = random_samples(seed, initial=True)
        kwargs = dict(classwise=True, extra_ious=(0.25, 0.5, 0.7), boundary_ap=True)
        if from_file:
            kwargs["ann_file"] = coco_file(samples, tmp_path / "truth.json")
        expected = evaluate(samples, **kwargs)
        assert 0.1 < expected["coco/segm_mAP"] < 0.9
        found = evaluate(samples, coco_eval="faster-coco-eval", **kwargs)
        assert found == pytest.approx(expected, nan_ok=True)

    @pytest.mark.parametrize(
        "samples",
        [
            # The mean AP counts a hundred detections of an image, AP at IoU 0.50 counts all.
            [
                sample(
                    0,
                    [instance(disk(30, 30, 9), 0)],
                    [disk(8, 8, 5)] * 120 + [disk(30, 30, 9)],
                    [0] * 121,
                    [0.9] * 120 + [0.1],
                )
            ],
            [sample(0, [instance(disk(30, 30, 9), 0)], [], [], [])],
            [sample(0, [], [disk(30, 30, 9)], [0], [0.5])],
        ],
        ids=["many", "none", "no truth"],
    )
    def test_odd_cases(self, samples):
        kwargs = dict(metric=["bbox", "segm", "proposal"], extra_ious=(0.25,))
        expected = evaluate(samples, **kwargs)
        assert evaluate(samples, coco_eval="faster-coco-eval", **kwargs) == expected

    def test_not_with_processes_of_pycocotools(self):
        message = "use_mp_eval needs coco_eval='pycocotools', but coco_eval is 'faster-coco-eval'"
        with pytest.raises(ValueError, match=message):
            LevelSetCocoMetric(coco_eval="faster-coco-eval", use_mp_eval=True)


def test_faster_coco_eval_is_not_installed(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match="not installed: pip install faster-coco-eval"):
        LevelSetCocoMetric(coco_eval="faster-coco-eval")


def test_unknown_evaluation():
    with pytest.raises(ValueError, match="one of pycocotools, faster-coco-eval, got 'fast'"):
        LevelSetCocoMetric(coco_eval="fast")
