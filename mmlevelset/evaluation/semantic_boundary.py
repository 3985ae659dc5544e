"""Boundary F1 of semantic maps: the agreement of the classes' outlines."""

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from mmengine.evaluator import BaseMetric
from mmengine.logging import MMLogger
from torch import Tensor

from mmlevelset.evaluation.boundary import boundary_f1
from mmlevelset.registry import METRICS


@METRICS.register_module()
class SemanticBoundaryMetric(BaseMetric):
    """Mean boundary F1 of the classes, for use beside the ``mIoU`` of ``SemSegMetric``.

    :func:`~mmlevelset.evaluation.boundary_f1` is computed for each image and each class in its
    truth or its prediction, between the true and the predicted mask of the class. The mean over a
    class's images, then over the classes, is ``BF_1`` (tolerance 1 pixel), ``BF_2`` and so on, in
    percent with two digits. A background class counts like any other class.

    Only predictions at labelled pixels count. In both maps an unlabelled pixel takes the value of
    the nearest labelled pixel. So both outlines lie in the middle of a narrow unlabelled seam, as
    around Pascal VOC's objects, and predictions inside the seam change nothing. An image without
    a labelled pixel is left out.

    Args:
        tolerances: Distances in pixels.
        ignore_index: The value of unlabelled pixels in the truth.
        collect_device, prefix: As for mmengine's ``BaseMetric``.

    Raises:
        ValueError: ``tolerances`` is empty or holds anything but numbers >= 0; a data sample has
            no ``gt_sem_seg`` or ``pred_sem_seg``, or they differ in size; or no image has a
            labelled pixel.

    Reference:
        Csurka et al., What is a good evaluation measure for semantic segmentation?, BMVC 2013.
        Their F1 of class boundaries has a tolerance relative to the image's diagonal.
    """

    results: list[dict[int, np.ndarray]]

    def __init__(
        self,
        tolerances: Sequence[float] = (1, 2),
        ignore_index: int = 255,
        collect_device: str = "cpu",
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        if not tolerances or not all(isinstance(t, int | float) and t >= 0 for t in tolerances):
            raise ValueError(
                f"tolerances must be numbers of pixels >= 0, at least one, got {tolerances!r}"
            )
        self.tolerances = tuple(tolerances)
        self.ignore_index = ignore_index

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Score each image of a batch: F1 of each class at each tolerance."""
        for sample in data_samples:
            maps = []
            for key in ("pred_sem_seg", "gt_sem_seg"):
                if key not in sample:
                    raise ValueError(
                        f"SemanticBoundaryMetric needs {key} in the data sample of"
                        f" {sample.get('img_path')}"
                    )
                maps.append(_label_map(sample[key]["sem_seg"]))
            pred, target = maps
            if pred.shape != target.shape:
                raise ValueError(
                    f"pred_sem_seg and gt_sem_seg of {sample.get('img_path')} must have the same"
                    f" size, got {pred.shape} and {target.shape}"
                )
            self.results.append(self._score(pred, target))

    def _score(self, pred: np.ndarray, target: np.ndarray) -> dict[int, np.ndarray]:
        labelled = target != self.ignore_index
        if not labelled.any():
            return {}
        if not labelled.all():
            nearest = nearest_labelled(labelled)
            pred, target = pred.ravel()[nearest], target.ravel()[nearest]
        return {
            int(label): boundary_f1(pred == label, target == label, self.tolerances)
            for label in np.union1d(pred, target)
        }

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Return the mean over each class's images, then over the classes."""
        by_class: dict[int, list[np.ndarray]] = {}
        for image in results:
            for label, scores in image.items():
                by_class.setdefault(label, []).append(scores)
        if not by_class:
            raise ValueError("SemanticBoundaryMetric: no image with a labelled pixel was processed")
        average = 100 * np.mean([np.mean(scores, axis=0) for scores in by_class.values()], axis=0)
        values = {
            f"BF_{tolerance:g}": round(float(value), 2)
            for tolerance, value in zip(self.tolerances, average, strict=True)
        }
        MMLogger.get_current_instance().info(
            "boundary F1: " + " ".join(f"{name} {value:.2f}" for name, value in values.items())
        )
        return values


def nearest_labelled(labelled: np.ndarray) -> np.ndarray:
    """Return the flat index of the nearest labelled pixel for each pixel.

    A labelled pixel is its own nearest. The distance is OpenCV's 5 x 5 chamfer distance, within 2%
    of the Euclidean distance.

    Args:
        labelled: (H, W) bool, at least one True.

    Returns:
        (H, W) int64.
    """
    _, cells = cv2.distanceTransformWithLabels(
        (~labelled).view(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    index = np.zeros(int(cells.max()) + 1, np.int64)
    index[cells[labelled]] = np.flatnonzero(labelled)
    return index[cells]


def _label_map(sem_seg: Tensor | np.ndarray) -> np.ndarray:
    array = sem_seg.cpu().numpy() if isinstance(sem_seg, Tensor) else sem_seg
    return array.reshape(array.shape[-2:])
