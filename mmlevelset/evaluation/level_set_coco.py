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
from mmengine.fileio import dump, load
from mmengine.logging import MMLogger
from pycocotools import mask as mask_util

from mmlevelset.evaluation.boundary import rle_boundary_f1
from mmlevelset.evaluation.coco_evaluation import (
    BoundaryEvaluation,
    GroundTruth,
    average_precision,
    evaluation_class,
    with_detections,
)
from mmlevelset.registry import METRICS


@METRICS.register_module()
class LevelSetCocoMetric(CocoMetric):
    """Box AP, mask AP and boundary F1 of the final masks and, where given, of the initial ones.

    With ``segm`` among the metrics, the values are, beside mmdet's ``bbox_*`` and ``segm_*``:

    - ``AF_1``, ``AF_2``: the boundary metric of LevelSet R-CNN (Homayounfar et al., ECCV 2020,
      section 5): F1 between predicted and true boundary pixels at a tolerance of 1 and 2 pixels
      for each true positive (COCO matching within a class, crowds ignored) at IoU 0.50:0.05:0.95,
      averaged over the true positives, then over the thresholds and classes. A class and threshold
      without a true positive counts 0 (our choice: the paper is silent; leaving it out would
      reward a model that finds nothing difficult). A class without ground truth is left out.
    - ``BF_1``, ``BF_2``: the same at IoU 0.50 only, a plain mean over all true positives of all
      classes: the outline's quality alone, less noisy on a small data set. 0 without any.
    - with ``extra_ious``, ``segm_mAP_25`` and so on for masks and, if asked for, ``bbox_mAP_25``
      for boxes: AP at that IoU (in hundredths) as ``segm_mAP_50`` is AP at 0.50: COCO's 101-point
      precision, all areas. The mean ``segm_mAP`` stays that over 0.50:0.05:0.95.
    - with ``boundary_ap``, ``boundary_mAP``, ``boundary_mAP_50`` and so on: Boundary AP (Cheng et
      al., CVPR 2021), COCO's AP with the lesser of mask IoU and boundary IoU, the latter that of
      the bands of 2% of the image's diagonal inside the outlines.
    - ``initial_*``: all of the above mask values for ``pred_instances.initial_masks``, when the
      predictions carry them.
    - with ``classwise``, ``<class>_AF_1`` and so on.

    Values lie in [0, 1]; AP has mmdet's 3 digits, AF and BF have 4. What has no ground truth at
    all is -1, as in COCO's own evaluation. A data set without a single detection scores 0.
    Of an image and class the best 100 detections count, and the best 1000 where AP is that of one
    IoU or of one range of areas, as mmdet has it.

    Args:
        boundary_tolerances: distances in pixels for AF and BF.
        extra_ious: further IoU thresholds for AP, different whole hundredths in (0, 1].
        boundary_ap: also Boundary AP.
        coco_eval: what computes AP: ``pycocotools``, or ``faster-coco-eval``, the package of this
            name, with the same values in less time.
        max_dets: this many detections of an image and class count for all values, at least 100;
            None: as above. For large images with hundreds of objects.
        **kwargs: of :class:`mmdet.evaluation.CocoMetric`. Without ``ann_file`` the ground truth
            is taken from the data samples' ``instances``; its area is then that of the mask,
            so that small, medium and large mean what they mean in COCO's files.

    Raises:
        ValueError: ``boundary_tolerances`` is empty or holds something else than numbers >= 0,
            ``extra_ious`` holds something else than different whole hundredths in (0, 1] or is
            given with neither ``bbox`` nor ``segm`` to evaluate, ``boundary_ap`` is given without
            ``segm``, ``coco_eval`` is unknown or not pycocotools beside ``use_mp_eval``,
            ``max_dets`` is less than 100 or given beside ``use_mp_eval``, the categories of the
            ground truth are in another order than the data set's classes, or there is no result
            to evaluate.
        ImportError: ``coco_eval`` names a package that is not installed.
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
        **kwargs,
    ) -> None:
        super().__init__(**kwargs)
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
            raise ValueError(f"use_mp_eval is pycocotools', but coco_eval is {coco_eval!r}")
        self.max_dets = max_dets
        if max_dets is not None:
            if not isinstance(max_dets, int) or max_dets < 100:
                raise ValueError(
                    f"max_dets must be None or a number of at least 100, got {max_dets!r}"
                )
            if self.use_mp_eval:
                raise ValueError("use_mp_eval has its own evaluation, which knows no max_dets")
            self._evaluation_class = with_detections(self._evaluation_class, max_dets)
        if self._coco_api is not None:
            self._coco_api = GroundTruth(self._coco_api.dataset)

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Keep a batch's predictions and ground truth, masks run-length encoded."""
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
        """Compute all values of this metric from the processed results of every rank."""
        if not results:
            raise ValueError("LevelSetCocoMetric has no result to evaluate: no image was processed")
        truths, preds = zip(*results, strict=True)
        asked = self.metrics, self.outfile_prefix
        converted = self._coco_api is None
        with tempfile.TemporaryDirectory() as folder:
            prefix = self.outfile_prefix or osp.join(folder, "results")
            try:
                if converted:
                    self._coco_api = GroundTruth(load(self.gt_to_coco_json(truths, prefix)))
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
            finally:
                self.metrics, self.outfile_prefix = asked
                if converted:
                    # The next evaluation brings its own ground truth.
                    self._coco_api = self.cat_ids = self.img_ids = None
        return values

    def gt_to_coco_json(self, gt_dicts: Sequence[dict], outfile_prefix: str) -> str:
        """Write the ground truth as a COCO file, with the masks' areas; see CocoMetric."""
        path = super().gt_to_coco_json(gt_dicts, outfile_prefix)
        truth = GroundTruth(load(path))
        for annotation in truth.anns.values():
            if "segmentation" in annotation:
                annotation["area"] = float(mask_util.area(truth.annToRLE(annotation)))
            elif "segm" in self.metrics:
                raise ValueError(
                    f"the ground truth of image {annotation['image_id']!r} must have a mask for "
                    "every instance when metric has 'segm': load it with LoadAnnotations("
                    "with_mask=True) in the test pipeline, or give ann_file"
                )
        dump(truth.dataset, path)
        return path

    def _evaluate(self, results: list) -> dict[str, float]:
        # CocoMetric has no argument for the class.
        with mock.patch.object(coco_metric, "COCOeval", self._evaluation_class):
            values = super().compute_metrics(results)
        if self.format_only:
            return values
        if self.extra_ious:
            for kind in ("bbox", "segm"):
                if kind in self.metrics:
                    # What mmdet has computed stands: extra_ious may name 0.5 and 0.75 too.
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
        """An evaluation of the written results, not yet run."""
        found = self._coco_api.loadRes(self._predictions(kind))
        evaluation = evaluation_type(self._coco_api, found, kind)
        evaluation.params.catIds = list(self.cat_ids)
        evaluation.params.imgIds = list(self.img_ids)
        evaluation.params.maxDets = [self.max_dets or detections]
        return evaluation

    def _predictions(self, kind: str) -> list[dict]:
        """The written results, without the boxes of masks: areas are then those of the masks."""
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
    """Boundary F1 of all true positives: class -> one array (true positives, tolerances) for
    each IoU threshold 0.50:0.05:0.95; classes without ground truth have no entry."""
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
    """Log values on one line."""
    listed = " ".join(f"{name} {value:.{digits}f}" for name, value in values.items())
    MMLogger.get_current_instance().info(f"{title}: {listed}")
