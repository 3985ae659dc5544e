"""mmdet's metric for semantic segmentation, its pixel accuracy put right."""

import numpy as np
from mmdet.evaluation import SemSegMetric as MmdetSemSegMetric

from mmlevelset.registry import METRICS


@METRICS.register_module()
class SemSegMetric(MmdetSemSegMetric):
    """mmdet's ``SemSegMetric``: mIoU, mAcc (mean of the classes' accuracies) and aAcc, in percent.

    aAcc is the share of labelled pixels that are right. mmdet's is the mean over classes, mAcc
    under another name.
    """

    def get_return_metrics(self, results: list[dict]) -> dict[str, np.ndarray]:
        """The metrics of each class, and aAcc in an array of one."""
        metrics = super().get_return_metrics(results)
        right = sum(float(result["area_intersect"].sum()) for result in results)
        labelled = sum(float(result["area_label"].sum()) for result in results)
        metrics["aAcc"] = np.array([right / labelled if labelled else np.nan])
        return metrics
