"""Variants of pycocotools' evaluation: a faster implementation, boundary IoU, LVIS's rules."""

import importlib.util
from collections import defaultdict
from typing import Any

import numpy as np
from mmdet.datasets.api_wrappers import COCOeval

from mmlevelset.evaluation.boundary import rle_boundary_iou

COCO_EVALS = ("pycocotools", "faster-coco-eval")


class BoundaryEvaluation(COCOeval):
    """COCO's evaluation of masks with the minimum of mask IoU and boundary IoU.

    Crowds keep the mask IoU, because detections inside a crowd are ignored anyway.

    Reference:
        Cheng et al., Boundary IoU: Improving Object-Centric Image Segmentation Evaluation,
        CVPR 2021 (Boundary AP).
    """

    def computeIoU(self, imgId: int, catId: int) -> Any:
        """Return the IoUs (detections, truths) in pycocotools' order; [] if there is neither."""
        ious = super().computeIoU(imgId, catId)
        if len(ious) == 0:
            return ious
        truths, found = self._gts[imgId, catId], self._dts[imgId, catId]
        found = sorted(found, key=lambda detection: -detection["score"])
        plain = np.array([not truth["iscrowd"] for truth in truths])
        # A mask IoU below all thresholds can only get smaller: no need for the boundary IoU there.
        matter = (ious >= min(self.params.iouThrs) - 1e-9) & plain
        for i, j in zip(*np.nonzero(matter), strict=True):
            boundary = rle_boundary_iou(found[i]["segmentation"], truths[j]["segmentation"])
            ious[i, j] = min(ious[i, j], boundary)
        return ious


class FederatedEvaluation(COCOeval):
    """LVIS's federated evaluation: an image counts only for the categories annotated in it.

    A category is annotated in an image if the image has an object of it, or if
    ``neg_category_ids`` says that the image has none. Detections of other categories are left out.
    For a category in the image's ``not_exhaustive_category_ids``, detections without a matching
    truth are ignored.

    Reference:
        Gupta et al., LVIS: A Dataset for Large Vocabulary Instance Segmentation, CVPR 2019.
    """

    _dts: Any

    def _prepare(self) -> None:
        super()._prepare()
        present = {pair for pair, truths in self._gts.items() if truths}
        self._dts = defaultdict(
            list,
            {
                (image, category): found
                for (image, category), found in self._dts.items()
                if (image, category) in present
                or category in self.cocoGt.imgs[image]["neg_category_ids"]
            },
        )

    def evaluateImg(self, imgId: int, catId: int, aRng: list, maxDet: int) -> dict | None:
        """Return the matches of an image and category; None where there is nothing to match."""
        image = super().evaluateImg(imgId, catId, aRng, maxDet)
        if image and catId in self.cocoGt.imgs[imgId]["not_exhaustive_category_ids"]:
            image["dtIgnore"] |= image["dtMatches"] == 0
        return image


def evaluation_class(name: str) -> type:
    """Return the evaluation class of an implementation; all give pycocotools' values.

    Args:
        name: An implementation in :data:`COCO_EVALS`.

    Raises:
        ValueError: unknown ``name``.
        ImportError: the package is not installed.
    """
    if name not in COCO_EVALS:
        raise ValueError(f"coco_eval must be one of {', '.join(COCO_EVALS)}, got {name!r}")
    if name == "pycocotools":
        return COCOeval
    if importlib.util.find_spec("faster_coco_eval") is None:
        raise ImportError(
            "coco_eval='faster-coco-eval' needs the package faster-coco-eval, which is not "
            "installed: pip install faster-coco-eval"
        )
    from faster_coco_eval import COCOeval_faster

    class FasterEvaluation(COCOeval_faster):
        # COCOeval_faster.summarize takes the mean AP from all detections; pycocotools takes it
        # from the first hundred.
        summarize = COCOeval.summarize

    return FasterEvaluation


def with_detections(evaluation: type, count: int) -> type:
    """Return an evaluation class that takes every AP from ``count`` >= 100 detections.

    pycocotools always takes the mean AP from 100 detections.
    """

    class WithDetections(evaluation):
        def evaluate(self) -> None:
            if self.params.useCats:  # proposals are evaluated without categories
                self.params.maxDets = [100, count, count]
            super().evaluate()

        def summarize(self) -> None:
            super().summarize()
            if self.params.useCats:
                self.stats[0] = average_precision(self)

    return WithDetections


def average_precision(
    evaluation: Any, iou: float | None = None, area: int = 0, classes: list[int] | None = None
) -> float:
    """Return the AP of an accumulated evaluation at its largest number of detections.

    Args:
        evaluation: An instance of an evaluation class, after ``accumulate()``.
        iou: An IoU threshold of the evaluation; None for the mean over its thresholds.
        area: Index of the range of areas.
        classes: Indices of categories of the evaluation; None for all.

    Returns:
        The mean over recalls and classes in [0, 1]; -1 without ground truth.
    """
    # (IoU, recall, class, area range, number of detections), -1 where undefined
    precision = evaluation.eval["precision"][:, :, :, area, -1]
    if classes is not None:
        precision = precision[:, :, classes]
    if iou is not None:
        precision = precision[np.isclose(evaluation.params.iouThrs, iou)]
    known = precision[precision > -1]
    return float(known.mean()) if known.size else -1.0
