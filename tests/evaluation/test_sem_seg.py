import numpy as np
import pytest
import torch
from mmengine.evaluator import Evaluator

import mmlevelset.evaluation  # noqa: F401

CLASSES = ("a", "b", "c")


def evaluate(pairs):
    evaluator = Evaluator([dict(type="mmlevelset.SemSegMetric")])
    evaluator.dataset_meta = dict(classes=CLASSES)
    for pred, truth in pairs:
        sample = dict(pred_sem_seg=dict(sem_seg=pred[None]), gt_sem_seg=dict(sem_seg=truth[None]))
        evaluator.process(data_batch=None, data_samples=[sample])
    return evaluator.evaluate(len(pairs))


def test_scores_are_those_of_all_labelled_pixels():
    rng = np.random.default_rng(0)
    truth = rng.choice([0, 1, 2, 255], (4, 9, 7), p=[0.7, 0.15, 0.1, 0.05])
    pred = np.where(rng.random(truth.shape) < 0.6, truth % 255, rng.integers(0, 3, truth.shape))
    scores = evaluate(
        [(torch.tensor(p), torch.tensor(t)) for p, t in zip(pred, truth, strict=True)]
    )
    labelled = truth != 255
    own, other = truth[labelled], pred[labelled]
    accuracies = [np.mean(other[own == label] == label) for label in range(3)]
    ious = [
        np.sum((own == label) & (other == label)) / np.sum((own == label) | (other == label))
        for label in range(3)
    ]
    assert scores["aAcc"] == pytest.approx(100 * np.mean(own == other), abs=0.01)
    assert scores["mAcc"] == pytest.approx(100 * np.mean(accuracies), abs=0.01)
    assert scores["mIoU"] == pytest.approx(100 * np.mean(ious), abs=0.01)
    assert scores["aAcc"] != scores["mAcc"]
