"""COCO metric that also scores initial masks and boundaries."""

import math
import os.path as osp
import tempfile
from collections.abc import Sequence
from typing import Any
from unittest import mock

import numpy as np
import torch
from mmdet.datasets.api_wrappers import COCOeval
from mmdet.evaluation.metrics import CocoMetric, coco_metric
from mmdet.structures.mask import encode_mask_results
from mmengine.fileio import dump, exists, load
from mmengine.logging import MMLogger
from pycocotools import mask as mask_util

from mmlevelset.annotations import MASKS, AnnotationError, CocoFile
from mmlevelset.annotations.masks import encode
from mmlevelset.evaluation.boundary import rle_boundary_f1
from mmlevelset.evaluation.coco_evaluation import (
    BoundaryEvaluation,
    average_precision,
    evaluation_class,
    with_detections,
)
from mmlevelset.evaluation.ground_truth import GroundTruth, from_samples, read_file
from mmlevelset.registry import METRICS


@METRICS.register_module()
class LevelSetCocoMetric(CocoMetric):
    """Box AP, mask AP and boundary F1 of the final masks, and of initial masks if there are any.

    Beside mmdet's ``bbox_*`` and ``segm_*``, the values are, with ``segm`` among the metrics:

    - ``AF_1``, ``AF_2``: the boundary metric of LevelSet R-CNN, the F1 between predicted and true
      boundary pixels at a tolerance of 1 and 2 pixels. F1 is computed for each true positive (COCO
      matching within a class, crowds ignored) at IoU 0.50:0.05:0.95. It is averaged over the true
      positives, then over thresholds and classes. A threshold at which a class has no true
      positive counts 0. This is our choice, the paper does not say: leaving the threshold out
      would reward a model that finds only easy objects. A class without ground truth is left out.
    - ``BF_1``, ``BF_2``: F1 at IoU 0.50 only, the plain mean over the true positives of all
      classes; 0 without a true positive. BF measures only the outlines' quality and is less noisy
      on a small data set.
    - ``segm_mAP_25``, ``bbox_mAP_25`` and so on (``extra_ious``): AP at this IoU in hundredths,
      with COCO's 101-point precision and all areas, as mmdet's ``segm_mAP_50`` is AP at 0.50. The
      mean ``segm_mAP`` stays the mean over 0.50:0.05:0.95.
    - ``boundary_mAP``, ``boundary_mAP_50`` and so on (``boundary_ap``): Boundary AP, COCO's AP with
      the minimum of mask IoU and boundary IoU. Boundary IoU compares the bands inside the outlines
      whose width is 2% of the image's diagonal.
    - ``<class>_AF_1`` and so on (``classwise``).
    - ``initial_*``: all mask values above for ``pred_instances.initial_masks``, if all predictions
      have them.

    Values lie in [0, 1]; AP has mmdet's 3 digits, AF and BF have 4. As in COCO's evaluation, a
    value without any ground truth is -1. A data set without a detection scores 0.

    :func:`mmlevelset.annotations.judge` says which annotations count: those that ``CocoDataset``
    uses. An annotation that the data set leaves out is not missed. Detections in a crowd
    (``iscrowd``) or in an annotation marked ``ignore`` are neither right nor wrong. The ids of the
    file have no influence. Only predicted images count. The best 100
    detections of an image and class count. As in mmdet, the best 1000 count for box and mask AP at
    a single IoU or in a range of areas.

    Args:
        boundary_tolerances: distances in pixels for AF and BF.
        extra_ious: further IoU thresholds for AP, different whole hundredths in (0, 1].
        boundary_ap: whether to compute Boundary AP.
        coco_eval: the implementation of AP: ``pycocotools``, or ``faster-coco-eval`` (the package
            of this name), which gives the same values in less time.
        max_dets: number of detections of an image and class that count for all values, at least
            100; None for the numbers above. For large images with hundreds of objects.
        ann_file: the annotation file of the data set. Without it the ground truth comes from the
            data samples' ``instances``. Its areas are then the masks' areas, so that small, medium
            and large mean the same as in COCO's files.
        masks: as for :class:`~mmlevelset.datasets.CocoDataset`, and the same as there.
        **kwargs: for :class:`mmdet.evaluation.CocoMetric`.

    Raises:
        ValueError: ``boundary_tolerances`` is empty or holds anything but numbers >= 0;
            ``extra_ious`` holds anything but different whole hundredths in (0, 1], or ``metric``
            has neither ``bbox`` nor ``segm`` for it; ``boundary_ap`` is given without ``segm``;
            ``coco_eval`` is unknown; ``use_mp_eval`` is given with another ``coco_eval`` than
            pycocotools or with ``max_dets``; ``max_dets`` is less than 100; ``masks`` is unknown;
            ``ann_file`` is missing or must be refused, does not list a predicted image, has
            annotations without masks for ``segm``, or has its categories in another order than the
            data set's classes; or there is no result to evaluate.
        ImportError: ``coco_eval`` names a package that is not installed.

    Reference:
        AF: Homayounfar et al., LevelSet R-CNN, ECCV 2020, section 5. Boundary AP: Cheng et al.,
        Boundary IoU, CVPR 2021.
    """

    metrics: list[str]
    outfile_prefix: str | None
    _coco_api: Any
    cat_ids: Any
    img_ids: Any

    def __init__(
        self,
        boundary_tolerances: Sequence[float] = (1, 2),
        extra_ious: Sequence[float] = (),
        boundary_ap: bool = False,
        coco_eval: str = "pycocotools",
        max_dets: int | None = None,
        ann_file: str | None = None,
        masks: str = "required",
        **kwargs,
    ) -> None:
        super().__init__(**kwargs)
        if masks not in MASKS:
            raise ValueError(f"masks must be 'required', 'optional' or 'unread', got {masks!r}")
        self.masks = masks
        self._file = None if ann_file is None else read_file(ann_file, self.backend_args)
        if self._file is not None and kwargs.get("sort_categories"):
            self._file.categories.sort(key=lambda category: category["id"])
        self._coco_api = self._file  # mmdet keeps the data samples' instances if this is None
        tolerances = tuple(boundary_tolerances)
        if not tolerances or not all(isinstance(t, int | float) and t >= 0 for t in tolerances):
            raise ValueError(
                "boundary_tolerances must be numbers of pixels >= 0, at least one, "
                f"got {boundary_tolerances!r}"
            )
        self.boundary_tolerances = tolerances
        self.extra_ious = _checked_ious(extra_ious)
        if self.extra_ious and not {"bbox", "segm"} & set(self.metrics):
            raise ValueError(
                f"extra_ious needs 'bbox' or 'segm' in metric, and metric is {self.metrics}"
            )
        self.boundary_ap = boundary_ap
        if boundary_ap and "segm" not in self.metrics:
            raise ValueError(f"boundary_ap needs 'segm' in metric, and metric is {self.metrics}")
        self._evaluation_class = evaluation_class(coco_eval)
        if self.use_mp_eval and coco_eval != "pycocotools":
            raise ValueError(
                f"use_mp_eval needs coco_eval='pycocotools', but coco_eval is {coco_eval!r}"
            )
        self.max_dets = max_dets
        if max_dets is not None:
            if not isinstance(max_dets, int) or max_dets < 100:
                raise ValueError(
                    f"max_dets must be None or a number of at least 100, got {max_dets!r}"
                )
            if self.use_mp_eval:
                raise ValueError(
                    f"use_mp_eval has no max_dets: max_dets must be None, got {max_dets!r}"
                )
            self._evaluation_class = with_detections(self._evaluation_class, max_dets)

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Store the predictions and the ground truth of a batch, with run-length encoded masks."""
        super().process(data_batch, data_samples)
        for (_, result), sample in zip(
            self.results[-len(data_samples) :], data_samples, strict=True
        ):
            masks = sample["pred_instances"].get("initial_masks")
            if masks is not None:
                if isinstance(masks, torch.Tensor):
                    masks = encode_mask_results(masks.detach().cpu().numpy())
                result["initial_masks"] = masks

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Return all values of this metric from the processed results of every rank."""
        if not results:
            raise ValueError("LevelSetCocoMetric has no result to evaluate: no image was processed")
        truths, preds = zip(*results, strict=True)
        asked = self.metrics, self.outfile_prefix
        with tempfile.TemporaryDirectory() as folder:
            prefix = self.outfile_prefix or osp.join(folder, "results")
            try:
                file = self._file or from_samples(load(self.gt_to_coco_json(truths, prefix)))
                self._coco_api = self._ground_truth(file)
                results = self._numbered(results, file)
                self.outfile_prefix = prefix
                values = self._evaluate(results)
                if "segm" in self.metrics and all("initial_masks" in pred for pred in preds):
                    self.metrics, self.outfile_prefix = ["segm"], f"{prefix}.initial"
                    MMLogger.get_current_instance().info("Evaluating the initial masks...")
                    initial = [
                        (truth, {**pred, "masks": pred["initial_masks"]}) for truth, pred in results
                    ]
                    values.update(
                        (f"initial_{name}", value)
                        for name, value in self._evaluate(initial).items()
                    )
                if asked[1]:
                    self._restore_ids(prefix, file)
            finally:
                self.metrics, self.outfile_prefix = asked
                self._coco_api, self.cat_ids, self.img_ids = self._file, None, None
        return values

    def _ground_truth(self, file: CocoFile) -> GroundTruth:
        """Return the annotations that count, with ids from 1 on."""
        masks = self.masks if file is self._file else "optional"
        truth = GroundTruth(file, self.dataset_meta["classes"], masks)
        bare = [a for a in truth.anns.values() if not a.get("segmentation")]
        if "segm" in self.metrics and bare:
            boxes_alone = len(bare) == len(truth.anns)
            raise AnnotationError(
                f"metric has 'segm', but {len(bare)} annotations of {file.path} have no mask: "
                + ("give metric='bbox'" if boxes_alone else "give masks='required'")
            )
        return truth

    def _numbered(self, results: list, file: CocoFile) -> list:
        """Return the results with the images' ids of the ground truth; choose what counts."""
        numbers = self._coco_api.image_numbers
        for _, pred in results:
            if pred["img_id"] not in numbers:
                raise ValueError(
                    f"image {pred['img_id']!r} was predicted, but ann_file {file.path} does not"
                    " list it: data set and metric must have the same ann_file"
                )
        results = [(truth, {**pred, "img_id": numbers[pred["img_id"]]}) for truth, pred in results]
        self.cat_ids = sorted(self._coco_api.cats)
        self.img_ids = sorted({pred["img_id"] for _, pred in results})
        if len(self.img_ids) < len(numbers):
            MMLogger.get_current_instance().warning(
                f"only {len(self.img_ids)} of {len(numbers)} images of {file.path} were predicted:"
                " the other images do not count"
            )
        return results

    def _restore_ids(self, prefix: str, file: CocoFile) -> None:
        """Write the result files again with the file's own ids of images and categories.

        A class that the file lacks has no id: its detections are left out.
        """
        images = {number: key for key, number in self._coco_api.image_numbers.items()}
        categories = {number: key for key, number in self._coco_api.category_numbers.items()}
        for kind in ("bbox", "segm", "initial.bbox", "initial.segm"):
            path = f"{prefix}.{kind}.json"
            if exists(path):
                own = [
                    found
                    | {
                        "image_id": images[found["image_id"]],
                        "category_id": categories[found["category_id"]],
                    }
                    for found in load(path)
                    if found["category_id"] in categories
                ]
                dump(own, path)

    def gt_to_coco_json(self, gt_dicts: Sequence[dict], outfile_prefix: str) -> str:
        """Write the ground truth as a COCO file with the masks' areas, and return its path."""
        path = super().gt_to_coco_json(gt_dicts, outfile_prefix)
        content = load(path)
        sizes = {image["id"]: (image["height"], image["width"]) for image in content["images"]}
        for annotation in content.get("annotations", ()):
            if "segmentation" in annotation:
                rle = encode(annotation["segmentation"], *sizes[annotation["image_id"]])
                annotation["area"] = float(mask_util.area(rle))
            elif "segm" in self.metrics:
                raise ValueError(
                    f"the ground truth of image {annotation['image_id']!r} must have a mask for "
                    "every instance when metric has 'segm': load it with LoadAnnotations("
                    "with_mask=True) in the test pipeline, or give ann_file"
                )
        dump(content, path)
        return path

    def _evaluate(self, results: list) -> dict[str, float]:
        # CocoMetric has no argument for the evaluation class.
        with mock.patch.object(coco_metric, "COCOeval", self._evaluation_class):
            values = super().compute_metrics(results)
        if self.format_only:
            return values
        if self.extra_ious:
            for kind in ("bbox", "segm"):
                if kind in self.metrics:
                    # mmdet's values win: extra_ious may name 0.5 and 0.75 too.
                    values = {**self._extra_values(kind), **values}
        if "segm" in self.metrics:
            values.update(self._boundary_values())
        if self.boundary_ap:
            values.update(self._boundary_ap_values())
        return values

    def _extra_values(self, kind: str) -> dict[str, float]:
        evaluation = self._evaluation(kind, self._evaluation_class, self.proposal_nums[-1])
        evaluation.params.areaRng = evaluation.params.areaRng[:1]
        evaluation.params.iouThrs = np.array(self.extra_ious)
        evaluation.evaluate()
        evaluation.accumulate()
        values = {
            f"{kind}_mAP_{round(100 * iou)}": round(average_precision(evaluation, iou), 3)
            for iou in self.extra_ious
        }
        log_values("further thresholds", values, 3)
        return values

    def _boundary_ap_values(self) -> dict[str, float]:
        evaluation = self._evaluation("segm", BoundaryEvaluation)
        evaluation.evaluate()
        evaluation.accumulate()
        chosen: dict[str, dict] = {
            "mAP": {},
            "mAP_50": dict(iou=0.5),
            "mAP_75": dict(iou=0.75),
            "mAP_s": dict(area=1),
            "mAP_m": dict(area=2),
            "mAP_l": dict(area=3),
        }
        values = {
            f"boundary_{name}": round(average_precision(evaluation, **of), 3)
            for name, of in chosen.items()
            if self.metric_items is None or name in self.metric_items
        }
        log_values("Boundary AP", values, 3)
        return values

    def _evaluation(self, kind: str, evaluation_type: type, detections: int = 100) -> Any:
        """Return an evaluation of the written results that has not run yet."""
        found = self._coco_api.loadRes(self._predictions(kind))
        evaluation = evaluation_type(self._coco_api, found, kind)
        evaluation.params.catIds = list(self.cat_ids)
        evaluation.params.imgIds = list(self.img_ids)
        evaluation.params.maxDets = [self.max_dets or detections]
        return evaluation

    def _predictions(self, kind: str) -> list[dict]:
        """Return the written results.

        Mask results lose their boxes: with a box pycocotools takes the box's area for the mask's.
        """
        predictions = load(f"{self.outfile_prefix}.{kind}.json")
        if kind == "segm":
            for prediction in predictions:
                prediction.pop("bbox")
        return predictions

    def _boundary_values(self) -> dict[str, float]:
        matching = self._evaluation("segm", COCOeval)
        matching.params.areaRng = matching.params.areaRng[:1]
        scores = _match_boundaries(matching, self.boundary_tolerances)
        names = [f"{tolerance:g}" for tolerance in self.boundary_tolerances]
        per_class = {
            cat_id: np.mean([_mean(matched) for matched in thresholds], axis=0)
            for cat_id, thresholds in scores.items()
        }
        if per_class:
            average = np.mean(list(per_class.values()), axis=0)
            pooled = _mean(np.concatenate([thresholds[0] for thresholds in scores.values()]))
        else:
            average = pooled = np.full(len(names), -1.0)
        values = {f"AF_{name}": value for name, value in zip(names, average, strict=True)}
        values |= {f"BF_{name}": value for name, value in zip(names, pooled, strict=True)}
        if self.classwise:
            for cat_id in self.cat_ids:
                category = self._coco_api.cats[cat_id]["name"]
                absent = np.full(len(names), np.nan)
                for name, value in zip(names, per_class.get(cat_id, absent), strict=True):
                    values[f"{category}_AF_{name}"] = value
        values = {name: round(float(value), 4) for name, value in values.items()}
        log_values("boundary F1", values, 4)
        return values


def _checked_ious(ious: Sequence[float]) -> tuple[float, ...]:
    sound = isinstance(ious, Sequence) and all(
        isinstance(iou, int | float)
        and 0.005 < iou <= 1
        and math.isclose(100 * iou, round(100 * iou), abs_tol=1e-6)
        for iou in ious
    )
    if not sound or len({round(100 * iou) for iou in ious}) < len(ious):
        raise ValueError(
            "extra_ious must be a sequence of different IoUs in (0, 1], each a whole number of "
            f"hundredths, got {ious!r}"
        )
    return tuple(float(iou) for iou in ious)


def _match_boundaries(
    matching: COCOeval, tolerances: Sequence[float]
) -> dict[int, list[np.ndarray]]:
    """Return the boundary F1 of all true positives.

    Returns:
        For each class with ground truth and each IoU threshold 0.50:0.05:0.95 an array (true
        positives, tolerances).
    """
    matching.evaluate()
    truth, detected = matching.cocoGt, matching.cocoDt

    count = len(matching.params.iouThrs)
    scores: dict[int, list[list[np.ndarray]]] = {}
    for image in matching.evalImgs:
        if image is None or np.all(image["gtIgnore"]):
            continue
        of_class = scores.setdefault(image["category_id"], [[] for _ in range(count)])
        known: dict[tuple[int, int], np.ndarray] = {}
        true_positive = (image["dtMatches"] > 0) & ~image["dtIgnore"]
        for threshold, detection in zip(*np.nonzero(true_positive), strict=True):
            pair = image["dtIds"][detection], int(image["dtMatches"][threshold, detection])
            if pair not in known:
                known[pair] = rle_boundary_f1(
                    detected.anns[pair[0]]["segmentation"],
                    truth.anns[pair[1]]["segmentation"],
                    tolerances,
                )
            of_class[threshold].append(known[pair])
    return {
        cat_id: [np.reshape(matched, (-1, len(tolerances))) for matched in thresholds]
        for cat_id, thresholds in scores.items()
    }


def _mean(scores: np.ndarray) -> np.ndarray:
    return scores.mean(axis=0) if len(scores) else np.zeros(scores.shape[1])


def log_values(title: str, values: dict[str, float], digits: int) -> None:
    """Log named values on one line."""
    listed = " ".join(f"{name} {value:.{digits}f}" for name, value in values.items())
    MMLogger.get_current_instance().info(f"{title}: {listed}")
