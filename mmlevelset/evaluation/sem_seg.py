"""mmdet's metric for semantic segmentation with a corrected pixel accuracy."""

import numpy as np
from mmdet.evaluation import SemSegMetric as MmdetSemSegMetric

from mmlevelset.registry import METRICS


@METRICS.register_module()
class SemSegMetric(MmdetSemSegMetric):
    """mmdet's ``SemSegMetric``: mIoU, mAcc (mean of the classes' accuracies) and aAcc, in percent.

    aAcc is the share of labelled pixels whose class is right. mmdet's aAcc is the mean over
    classes, which is mAcc.
    """

    def get_return_metrics(self, results: list[dict]) -> dict[str, np.ndarray]:
        """Return the metrics of each class, and aAcc as an array of one value."""
        metrics = super().get_return_metrics(results)
        right = sum(float(result["area_intersect"].sum()) for result in results)
        labelled = sum(float(result["area_label"].sum()) for result in results)
        metrics["aAcc"] = np.array([right / labelled if labelled else np.nan])
        return metrics
