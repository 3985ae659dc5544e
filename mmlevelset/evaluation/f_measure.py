"""F-measure of images of a single object, against one or several annotators."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from mmengine.evaluator import BaseMetric
from mmengine.logging import MMLogger
from torch import Tensor

from mmlevelset.registry import METRICS


@METRICS.register_module()
class FMeasureMetric(BaseMetric):
    r"""Mean F-measure of the images, in percent with two digits: ``FM``, or ``FM_1``, ``FM_2``...

    The F-measure of an image is :math:`F = 2 P R / (P + R) = 2 TP / (2 TP + FP + FN)` of the
    object's pixels; it is 1 if neither prediction nor truth has an object. The metric is the mean
    over images.

    Each annotator is a ground truth of its own: ``FM_1`` is the mean against the first annotator.
    The truths are the maps ``annotator_maps`` (A, H, W) of the data sample, if it has them
    (:class:`~mmlevelset.datasets.LoadMaskAnnotations` loads them and ``meta_keys`` of
    ``PackDetInputs`` keeps them), and ``gt_sem_seg`` otherwise. In all maps 0 is the background
    and 1 the object.

    Args:
        ignore_index: The value of unlabelled pixels in the truth. They are left out.
        collect_device, prefix: As for mmengine's ``BaseMetric``.

    Raises:
        ValueError: A data sample lacks a map, maps differ in size, or a map holds other values;
            or images differ in their number of annotators; or no image was processed.

    Reference:
        Alpert et al., Image Segmentation by Probabilistic Bottom-Up Aggregation and Cue
        Integration, CVPR 2007; Le et al., Recurrent Level Set Networks, 2019, Table 2.
    """

    results: list[np.ndarray]

    def __init__(
        self, ignore_index: int = 255, collect_device: str = "cpu", prefix: str | None = None
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.ignore_index = ignore_index

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Score each image of a batch against each of its annotators."""
        for sample in data_samples:
            path = sample.get("img_path")
            pred = self._binary(_sem_seg(sample, "pred_sem_seg"), f"pred_sem_seg of {path}")[0]
            name = "gt_sem_seg"
            if sample.get("annotator_maps") is not None:
                name = "annotator_maps"
                truths = np.asarray(sample[name])
            else:
                truths = _sem_seg(sample, name)
            truths = self._binary(truths, f"{name} of {path}", self.ignore_index)
            if truths.shape[1:] != pred.shape:
                raise ValueError(
                    f"pred_sem_seg and {name} of {path} must have the same size, but have"
                    f" {pred.shape} and {truths.shape[1:]}"
                )
            scores = [
                f_measure(pred == 1, truth == 1, truth != self.ignore_index) for truth in truths
            ]
            self.results.append(np.array(scores))

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Return the mean over the images for each annotator."""
        counts = sorted({len(scores) for scores in results})
        if len(counts) != 1:
            raise ValueError(
                f"all images must have the same number of annotators, but they have {counts}"
                if counts
                else "FMeasureMetric: no image was processed"
            )
        means = 100 * np.mean(results, axis=0)
        names = ["FM"] if len(means) == 1 else [f"FM_{n + 1}" for n in range(len(means))]
        values = {name: round(float(mean), 2) for name, mean in zip(names, means, strict=True)}
        MMLogger.get_current_instance().info(
            "F-measure: " + " ".join(f"{name} {value:.2f}" for name, value in values.items())
        )
        return values

    @staticmethod
    def _binary(maps: np.ndarray, name: str, *others: int) -> np.ndarray:
        wrong = ~np.isin(maps, (0, 1, *others))
        if wrong.any():
            allowed = ", ".join(map(str, (0, 1, *others)))
            raise ValueError(f"{name} must hold only {allowed}, but holds {maps[wrong][0]}")
        return maps


def f_measure(pred: np.ndarray, truth: np.ndarray, labelled: np.ndarray | None = None) -> float:
    """Return the F-measure in [0, 1] of two bool masks (H, W); 1 if both are empty.

    Args:
        pred: The predicted mask.
        truth: The true mask.
        labelled: Bool (H, W), the pixels that count; None for all.
    """
    if labelled is not None:
        pred, truth = pred & labelled, truth & labelled
    total = int(pred.sum()) + int(truth.sum())
    return 2 * int((pred & truth).sum()) / total if total else 1.0


def _sem_seg(sample: dict, key: str) -> np.ndarray:
    """Return the label map of a data sample: (1, H, W)."""
    if key not in sample:
        raise ValueError(
            f"FMeasureMetric needs {key} in the data sample of {sample.get('img_path')}"
        )
    maps = sample[key]["sem_seg"]
    maps = maps.cpu().numpy() if isinstance(maps, Tensor) else np.asarray(maps)
    return maps.reshape(-1, *maps.shape[-2:])
