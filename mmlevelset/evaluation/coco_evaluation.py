"""Variants of pycocotools' evaluation: another implementation, another IoU, LVIS's rules."""

import importlib.util
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
from mmdet.datasets.api_wrappers import COCO, COCOeval

from mmlevelset.evaluation.boundary import rle_boundary_iou

COCO_EVALS = ("pycocotools", "faster-coco-eval")


class GroundTruth(COCO):
    """COCO annotations that accept an empty list of results, and ids that count from 0."""

    def __init__(self, dataset: dict) -> None:
        super().__init__()
        annotations = dataset.get("annotations", [])
        if any(one["id"] == 0 for one in annotations):  # the evaluation takes 0 for "no match"
            numbered = [{**one, "id": number} for number, one in enumerate(annotations, 1)]
            dataset = {**dataset, "annotations": numbered}
        self.dataset = dataset
        self.createIndex()
        self.img_ann_map, self.cat_img_map = self.imgToAnns, self.catToImgs

    def get_cat_ids(self, cat_names: Sequence[str] = (), **kwargs: Any) -> list:
        """The categories' ids in the file's order, which is that of the labels.

        Raises:
            ValueError: a label's category is not that of its name.
        """
        ids = super().get_cat_ids(cat_names=list(cat_names), **kwargs)
        for label, (number, name) in enumerate(zip(ids, cat_names, strict=False)):
            if self.cats[number]["name"] != name:
                raise ValueError(
                    f"label {label} is the ground truth's category '{self.cats[number]['name']}', "
                    f"but classes[{label}] of the data set is '{name}': they must have one order"
                )
        return ids

    def loadRes(self, resFile: list) -> COCO:
        if resFile:
            return super().loadRes(resFile)
        return GroundTruth({**self.dataset, "annotations": []})


class BoundaryEvaluation(COCOeval):
    """COCO's evaluation of masks with the lesser of mask IoU and boundary IoU.

    Crowds keep the mask IoU: what lies in them is ignored.

    Reference:
        Cheng et al., Boundary IoU: Improving Object-Centric Image Segmentation Evaluation,
        CVPR 2021 (Boundary AP).
    """

    def computeIoU(self, imgId: int, catId: int) -> Any:
        """(detections, truths) in pycocotools' order, or an empty list without either."""
        ious = super().computeIoU(imgId, catId)
        if len(ious) == 0:
            return ious
        truths, found = self._gts[imgId, catId], self._dts[imgId, catId]
        found = sorted(found, key=lambda detection: -detection["score"])
        plain = np.array([not truth["iscrowd"] for truth in truths])
        # The lesser of both cannot matter where the mask IoU is below all thresholds.
        matter = (ious >= min(self.params.iouThrs) - 1e-9) & plain
        for i, j in zip(*np.nonzero(matter), strict=True):
            boundary = rle_boundary_iou(found[i]["segmentation"], truths[j]["segmentation"])
            ious[i, j] = min(ious[i, j], boundary)
        return ious


class FederatedEvaluation(COCOeval):
    """LVIS's evaluation of the categories that an image's annotators have looked for.

    Detections of a category that an image neither has nor is verified not to have
    (``neg_category_ids``) are left out. Where the category is in the image's
    ``not_exhaustive_category_ids``, those that match no truth are ignored.

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
        """The matches of an image and category, None where there is nothing to match."""
        image = super().evaluateImg(imgId, catId, aRng, maxDet)
        if image and catId in self.cocoGt.imgs[imgId]["not_exhaustive_category_ids"]:
            image["dtIgnore"] |= image["dtMatches"] == 0
        return image


def evaluation_class(name: str) -> type:
    """The class that evaluates as pycocotools does.

    Args:
        name: One of :data:`COCO_EVALS`.

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
        # Its own takes the mean AP from all detections; COCO's from the first hundred.
        summarize = COCOeval.summarize

    return FasterEvaluation


def with_detections(evaluation: type, count: int) -> type:
    """An evaluation class whose AP, the mean too, is that of ``count`` detections, at least 100.

    pycocotools takes the mean AP from 100 detections, whatever else is asked for.
    """

    class WithDetections(evaluation):
        def evaluate(self) -> None:
            if self.params.useCats:  # not of proposals
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
    """AP of an accumulated evaluation with its largest number of detections, in [0, 1].

    Args:
        evaluation: An instance of one of these classes.
        iou: One of its thresholds; None for the mean over all.
        area: Index of the range of areas.
        classes: Indices of its categories; None for all.

    Returns:
        The mean over recalls and classes, -1 without ground truth.
    """
    # (IoU, recall, class, area range, number of detections), -1 where undefined
    precision = evaluation.eval["precision"][:, :, :, area, -1]
    if classes is not None:
        precision = precision[:, :, classes]
    if iou is not None:
        precision = precision[np.isclose(evaluation.params.iouThrs, iou)]
    known = precision[precision > -1]
    return float(known.mean()) if known.size else -1.0
