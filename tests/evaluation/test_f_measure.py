import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from mmdet.structures import DetDataSample
from mmengine.evaluator import Evaluator
from mmengine.structures import PixelData

from mmlevelset.evaluation import FMeasureMetric, f_measure

MASKS = st.tuples(*[arrays(bool, (4, 3))] * 2)


def sample(pred, truth=None, annotators=None) -> dict:
    made = dict(img_path="a.png", pred_sem_seg=dict(sem_seg=torch.tensor(pred)[None]))
    if truth is not None:
        made["gt_sem_seg"] = dict(sem_seg=torch.tensor(truth)[None])
    if annotators is not None:
        made["annotator_maps"] = np.array(annotators, np.uint8)
    return made


def evaluate(*samples: dict) -> dict:
    evaluator = Evaluator([dict(type="mmlevelset.FMeasureMetric")])
    for item in samples:
        evaluator.process(data_batch=None, data_samples=[item])
    return evaluator.evaluate(len(samples))


@settings(deadline=None)
@given(MASKS)
def test_it_is_the_harmonic_mean_of_precision_and_recall(masks):
    pred, truth = masks
    found = f_measure(pred, truth)
    assert found == f_measure(truth, pred) and 0 <= found <= 1
    both = np.sum(pred & truth)
    if both:
        precision, recall = both / pred.sum(), both / truth.sum()
        assert found == pytest.approx(2 * precision * recall / (precision + recall))
    else:
        assert found == (not pred.any() and not truth.any())
    assert f_measure(pred, pred) == 1


def test_the_mean_over_images():
    # 2 TP / (2 TP + FP + FN) is 2 / 3 and 0; it is 1 where neither map has an object.
    found = evaluate(
        sample([[1, 1], [0, 0]], [[1, 0], [0, 0]]),
        sample([[1, 0], [0, 0]], [[0, 1], [0, 0]]),
        sample([[0, 0], [0, 0]], [[0, 0], [0, 0]]),
    )
    assert found == {"FM": 55.56}


def test_each_annotator_is_judged_alone():
    pred = [[1, 1, 0, 0]]
    first = sample(pred, [[0, 0, 0, 0]], [[[1, 1, 0, 0]], [[0, 1, 1, 0]]])
    second = sample(pred, None, [[[0, 0, 1, 1]], [[1, 1, 1, 1]]])
    assert evaluate(first, second) == {"FM_1": 50.0, "FM_2": 58.33}
    assert evaluate(sample(pred, None, [[[1, 1, 0, 0]]])) == {"FM": 100.0}


def test_annotators_come_with_the_data_sample():
    made = DetDataSample(metainfo=dict(annotator_maps=np.uint8([[[1, 0]], [[1, 1]]])))
    made.pred_sem_seg = PixelData(sem_seg=torch.tensor([[[1, 1]]]))
    assert evaluate(made) == {"FM_1": 66.67, "FM_2": 100.0}


def test_pixels_without_a_label_are_left_out():
    assert evaluate(sample([[1, 1, 1, 0]], [[1, 255, 255, 255]])) == {"FM": 100.0}
    assert evaluate(sample([[0, 1, 1]], None, [[[0, 255, 255]]])) == {"FM": 100.0}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (dict(img_path="a.png"), "needs pred_sem_seg in the data sample of a.png"),
        (sample([[1]]), "needs gt_sem_seg in the data sample of a.png"),
        (sample([[1, 0]], [[1]]), r"gt_sem_seg of a.png must have .* size, but have \(1, 2\) and"),
        (sample([[2]], [[1]]), "pred_sem_seg of a.png must hold only 0, 1, but holds 2"),
        (sample([[1]], [[3]]), "gt_sem_seg of a.png must hold only 0, 1, 255, but holds 3"),
        (sample([[1]], None, [[[7]]]), "annotator_maps of a.png must hold only 0, 1, 255, but"),
    ],
)
def test_wrong_samples_are_named(wrong, message):
    with pytest.raises(ValueError, match=message):
        FMeasureMetric().process(None, [wrong])


def test_annotators_must_be_as_many_for_all():
    with pytest.raises(ValueError, match=r"the same number of annotators, but they have \[1, 2\]"):
        evaluate(sample([[1]], [[1]]), sample([[1]], None, [[[1]], [[0]]]))
    with pytest.raises(ValueError, match="no image was processed"):
        FMeasureMetric().compute_metrics([])
