"""AP*: federated AP of a model with COCO's classes on LVIS's annotations."""

from collections import defaultdict

import numpy as np

from mmlevelset.annotations import CocoFile
from mmlevelset.evaluation.coco_evaluation import FederatedEvaluation, average_precision
from mmlevelset.evaluation.ground_truth import GroundTruth
from mmlevelset.evaluation.level_set_coco import LevelSetCocoMetric, log_values
from mmlevelset.registry import METRICS

MAX_DETECTIONS = 300
_FEDERATED_KEYS = ("neg_category_ids", "not_exhaustive_category_ids")
_FREQUENCIES = ("r", "c", "f")


@METRICS.register_module()
class LVISCocoMetric(LevelSetCocoMetric):
    """Federated AP of LVIS over COCO's classes for the final masks, and for initial masks if any.

    This is AP* of PointRend and of LevelSet R-CNN's table 2: a model trained on COCO is evaluated
    on LVIS's finer masks. The rules are LVIS's:

    - An image counts for a category only if it has an object of the category or is verified to have
      none.
    - If the category is not exhaustively annotated in the image, detections without a match are
      ignored.
    - The 300 detections with the highest scores count in an image.

    The values are ``segm_AP``, ``segm_AP50``, ``segm_AP75``, ``segm_APs``, ``segm_APm`` and
    ``segm_APl``. If all categories have a ``frequency``, there are ``segm_APr``, ``segm_APc`` and
    ``segm_APf`` (rare, common, frequent) too. Boxes have the same values with ``bbox_``, and
    ``initial_masks`` in the predictions with ``initial_segm_``. Values lie in [0, 1] with 3 digits
    and are -1 without ground truth.

    mmdet's ``LVISMetric`` needs LVIS's own labels and the ``lvis`` package, whose release 0.5.3
    does not run with NumPy 1.24 or later.

    Args:
        ann_file: annotations in LVIS's format, with ``neg_category_ids`` and
            ``not_exhaustive_category_ids`` in each image. The names of the categories must be
            classes of the predicted data set. Classes and images that the file lacks do not count,
            so that this metric can stand beside a metric on COCO's annotations of the same images.
        metric: ``segm``, ``bbox`` or both.
        outfile_prefix, collect_device, prefix, backend_args: as for CocoMetric.

    Raises:
        ValueError: ``metric`` is anything else; an image of ``ann_file`` lacks one of the two lists
            or was not predicted; a category is no class; or there is no result to evaluate.

    Reference:
        Gupta et al., LVIS: A Dataset for Large Vocabulary Instance Segmentation, CVPR 2019.
    """

    default_prefix = "lvis"

    def __init__(
        self,
        ann_file: str,
        metric: str | list[str] = "segm",
        outfile_prefix: str | None = None,
        collect_device: str = "cpu",
        prefix: str | None = None,
        backend_args: dict | None = None,
    ) -> None:
        asked = [metric] if isinstance(metric, str) else metric
        if not asked or not set(asked) <= {"bbox", "segm"}:
            raise ValueError(f"metric must be 'segm', 'bbox' or both, got {metric!r}")
        super().__init__(
            ann_file=ann_file,
            metric=metric,
            outfile_prefix=outfile_prefix,
            collect_device=collect_device,
            prefix=prefix,
            backend_args=backend_args,
        )
        assert self._file is not None
        for image in self._file.images:
            for key in _FEDERATED_KEYS:
                if key not in image:
                    raise ValueError(
                        f"each image of {ann_file} must have the key {key!r} as in LVIS's files, "
                        f"but image {image['id']} lacks it"
                    )

    def _ground_truth(self, file: CocoFile) -> GroundTruth:
        classes = self.dataset_meta["classes"]
        unknown = sorted({category["name"] for category in file.categories} - set(classes))
        if unknown:
            raise ValueError(
                f"the categories of {file.path} must be classes of the data set, but the data "
                f"set has no class {', '.join(unknown)}"
            )
        truth = GroundTruth(file, classes, self.masks, ordered=False)
        for image in truth.imgs.values():
            for key in _FEDERATED_KEYS:
                image[key] = [truth.category_numbers[number] for number in image[key]]
        return truth

    def _numbered(self, results: list, file: CocoFile) -> list:
        """Return the results of the file's images, which must all be predicted."""
        numbers = self._coco_api.image_numbers
        missing = sorted(numbers.keys() - {pred["img_id"] for _, pred in results}, key=str)
        if missing:
            raise ValueError(
                f"all images of {file.path} must be predicted, but {len(missing)} were not, "
                f"image {missing[0]} for example"
            )
        return super()._numbered([pair for pair in results if pair[1]["img_id"] in numbers], file)

    def _evaluate(self, results: list) -> dict[str, float]:
        self.results2json([pred for _, pred in results], self.outfile_prefix)
        return {
            f"{kind}_{name}": value
            for kind in self.metrics
            for name, value in self._federated_values(kind).items()
        }

    def _predictions(self, kind: str) -> list[dict]:
        """Return the best 300 predictions of each annotated image, in annotated categories.

        Predictions of other classes count among the 300.
        """
        of_image: dict[int, list[dict]] = defaultdict(list)
        for prediction in super()._predictions(kind):
            of_image[prediction["image_id"]].append(prediction)
        known = set(self._coco_api.category_numbers.values())
        return [
            prediction
            for found in of_image.values()
            for prediction in sorted(found, key=lambda item: -item["score"])[:MAX_DETECTIONS]
            if prediction["category_id"] in known
        ]

    def _federated_values(self, kind: str) -> dict[str, float]:
        evaluation = self._evaluation(kind, FederatedEvaluation)
        evaluation.params.maxDets = [MAX_DETECTIONS]
        evaluation.params.catIds = sorted(self._coco_api.category_numbers.values())
        evaluation.evaluate()
        evaluation.accumulate()
        values = {
            "AP": average_precision(evaluation),
            "AP50": average_precision(evaluation, iou=0.5),
            "AP75": average_precision(evaluation, iou=0.75),
            "APs": average_precision(evaluation, area=1),
            "APm": average_precision(evaluation, area=2),
            "APl": average_precision(evaluation, area=3),
        }
        categories = [self._coco_api.cats[number] for number in evaluation.params.catIds]
        if all("frequency" in category for category in categories):
            frequency = np.array([category["frequency"] for category in categories])
            for letter in _FREQUENCIES:
                chosen = np.flatnonzero(frequency == letter).tolist()
                values[f"AP{letter}"] = average_precision(evaluation, classes=chosen)
        values = {name: round(value, 3) for name, value in values.items()}
        log_values(f"federated AP ({kind})", values, 3)
        return values
