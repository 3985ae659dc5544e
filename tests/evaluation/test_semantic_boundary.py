import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from mmdet.evaluation import SemSegMetric
from mmdet.registry import METRICS
from mmdet.structures import DetDataSample
from mmengine.evaluator import Evaluator
from mmengine.registry import DefaultScope
from mmengine.structures import PixelData
from scipy import ndimage

from mmlevelset.evaluation import SemanticBoundaryMetric, boundary_f1
from mmlevelset.evaluation.semantic_boundary import nearest_labelled

maps = arrays(np.uint8, (9, 11), elements=st.integers(0, 3))


def sample(pred: np.ndarray, target: np.ndarray) -> dict:
    made = DetDataSample(metainfo=dict(img_path="a.jpg"))
    made.pred_sem_seg = PixelData(sem_seg=torch.from_numpy(pred.astype(np.int64))[None])
    made.gt_sem_seg = PixelData(sem_seg=torch.from_numpy(target)[None])
    return made.to_dict()


def evaluate(*pairs: tuple[np.ndarray, np.ndarray], **kwargs) -> dict[str, float]:
    metric = SemanticBoundaryMetric(**kwargs)
    metric.process({}, [sample(pred, target) for pred, target in pairs])
    return metric.evaluate(len(pairs))


def halves(column: int, size: int = 20, left: int = 0, right: int = 1) -> np.ndarray:
    made = np.full((size, size), right, np.uint8)
    made[:, :column] = left
    return made


def test_shifted_boundary_by_hand():
    # The outline of both classes is a column. It is two pixels off, then one pixel.
    assert evaluate((halves(12), halves(10))) == {"BF_1": 0, "BF_2": 100}
    assert evaluate((halves(11), halves(10)), tolerances=[0.5, 1]) == {"BF_0.5": 0, "BF_1": 100}


def test_the_mean_is_over_images_then_classes():
    good, bad = (halves(10), halves(10)), (halves(15), halves(10))
    third = (halves(10, right=2), halves(10, right=2))
    # Class 0 is right in two of three images, class 1 in one of two, class 2 in one of one.
    expected = round(100 * np.mean([2 / 3, 1 / 2, 1]), 2)
    assert evaluate(good, bad, third)["BF_1"] == expected


def test_invented_and_missed_classes_score_zero():
    # Class 1 is predicted as class 2, so both score 0. Class 0 is right.
    scores = evaluate((halves(10, right=2), halves(10)), tolerances=[1])
    assert scores == {"BF_1": round(100 / 3, 2)}


@given(st.lists(st.tuples(maps, maps), min_size=1, max_size=3))
@settings(max_examples=50, deadline=None)
def test_equals_the_definition(pairs):
    scores: dict[int, list[float]] = {}
    for pred, target in pairs:
        for label in {*pred.ravel().tolist(), *target.ravel().tolist()}:
            (value,) = boundary_f1(pred == label, target == label, [1])
            scores.setdefault(label, []).append(value)
    expected = 100 * np.mean([np.mean(values) for values in scores.values()])
    assert evaluate(*pairs, tolerances=[1])["BF_1"] == pytest.approx(expected, abs=0.006)


@given(maps, maps, arrays(np.bool_, (9, 11)), st.integers(0, 255))
@settings(max_examples=50, deadline=None)
def test_what_is_predicted_without_a_label_changes_nothing(pred, target, ignored, value):
    ignored[4, 5] = False
    target = np.where(ignored, np.uint8(255), target)
    other = np.where(ignored, np.uint8(value), pred)
    assert evaluate((pred, target)) == evaluate((other, target))
    assert evaluate((np.where(ignored, 7, target), target)) == {"BF_1": 100, "BF_2": 100}


def test_outlines_meet_in_the_middle_of_an_unlabelled_seam():
    truth = halves(10)
    seam = truth.copy()
    seam[:, 8:12] = 255
    for shift in range(-5, 6):
        pred = halves(10 + shift)
        # A predicted outline inside the seam counts as right; beyond the seam it counts as it is.
        beyond = max(abs(shift) - 2, 0)
        expected = evaluate((halves(10), truth) if not beyond else (pred, truth))
        assert evaluate((pred, seam)) == expected


def test_nearest_labelled_pixel():
    rng = np.random.default_rng(0)
    for _ in range(5):
        labelled = ndimage.gaussian_filter(rng.normal(size=(40, 50)), 2) > 0.1
        index = nearest_labelled(labelled)
        assert labelled.ravel()[index].all()
        assert (index[labelled] == np.flatnonzero(labelled)).all()
        y, x = np.mgrid[:40, :50]
        found = np.hypot(index // 50 - y, index % 50 - x)
        assert found == pytest.approx(ndimage.distance_transform_edt(~labelled), rel=0.03)


def test_images_without_labels_are_left_out():
    void = np.full((20, 20), 255, np.uint8)
    assert evaluate((halves(3), void), (halves(10), halves(10)))["BF_1"] == 100
    with pytest.raises(ValueError, match="no image with a labelled pixel"):
        evaluate((halves(3), void))


def test_beside_miou_in_an_evaluator():
    with DefaultScope.overwrite_default_scope("mmdet"):
        metrics = [
            METRICS.build(dict(type=name))
            for name in ("mmlevelset.SemSegMetric", "mmlevelset.SemanticBoundaryMetric")
        ]
    assert isinstance(metrics[0], SemSegMetric)
    evaluator = Evaluator(metrics)
    evaluator.dataset_meta = dict(classes=("a", "b"))
    made = DetDataSample()
    for key in ("pred_sem_seg", "gt_sem_seg"):
        setattr(made, key, PixelData(sem_seg=torch.from_numpy(halves(10))[None]))
    evaluator.process([made])
    values = evaluator.evaluate(1)
    assert values["mIoU"] == values["BF_1"] == values["BF_2"] == 100


def test_errors_name_what_is_wrong():
    for tolerances in ([], [-1], ["1"]):
        with pytest.raises(ValueError, match="tolerances must be numbers"):
            SemanticBoundaryMetric(tolerances=tolerances)
    whole = sample(halves(3), halves(3))
    with pytest.raises(ValueError, match="needs gt_sem_seg in the data sample of a.jpg"):
        SemanticBoundaryMetric().process(
            {}, [{k: v for k, v in whole.items() if k != "gt_sem_seg"}]
        )
    with pytest.raises(ValueError, match=r"a.jpg must .* same size, got \(20, 20\) and \(9, 9\)"):
        evaluate((halves(3), halves(3, size=9)))
