"""The parts of a report that need the checkpoint: scores of classes, best and worst predictions."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from mmlevelset.experiments.drawing.results import Results, rank
from mmlevelset.experiments.scores import as_shown

if TYPE_CHECKING:
    import numpy as np

    from mmlevelset.visualization import Panel

JPEG_QUALITY = 85


@dataclass
class Picture:
    """A panel as an image file in the page; ``caption`` may be HTML, ``alt`` is plain text."""

    caption: str
    alt: str
    source: str
    width: int
    height: int


@dataclass
class Prediction:
    """An image of the validation set with the model's prediction."""

    index: int
    best: bool
    score: float
    remark: str
    pictures: list[Picture]


def evaluate(results: Results, evaluator: Any) -> tuple[dict[str, float], dict[str, float]]:
    """Evaluate a model on its validation set.

    Args:
        results: the model and its data.
        evaluator: the config's ``val_evaluator``.

    Returns:
        The scores that the evaluation logs; and a dict from class to AP of masks (of boxes for a
        detector) or IoU, in percent. The dict is empty if the metrics give no scores of classes.
    """
    import torch
    from mmdet.evaluation import SemSegMetric
    from mmengine.dataset import pseudo_collate
    from mmengine.evaluator import Evaluator
    from mmengine.utils import track_iter_progress

    built = Evaluator(evaluator)
    built.dataset_meta = results.dataset.metainfo
    names = results.dataset.metainfo.get("classes", ())
    classes: dict[str, float] = {}
    for metric in built.metrics:
        if hasattr(metric, "classwise"):
            metric.classwise = True
            # The classes of the last metric stay: these are the scores of masks, not of boxes.
            metric.metrics = sorted(metric.metrics, key="segm".__eq__)
        elif isinstance(metric, SemSegMetric):
            _keep_classes(metric, names, classes)
    for index in track_iter_progress(range(len(results.dataset))):
        batch = pseudo_collate([results.dataset[index]])
        with torch.no_grad():
            built.process(data_samples=results.model.test_step(batch), data_batch=batch)
    print()
    logged = built.evaluate(len(results.dataset))
    for name in names:
        for key, value in logged.items():
            if key.partition("/")[2] == f"{name}_precision" and value == value:
                classes[name] = as_shown(key, float(value))
    return {key: float(value) for key, value in logged.items()}, classes


def _keep_classes(metric: Any, names: Sequence[str], classes: dict[str, float]) -> None:
    """Make mmdet's SemSegMetric keep the IoU of each class; by itself it only prints them."""
    compute = metric.get_return_metrics

    def keeping(found: list[dict]) -> Mapping[str, np.ndarray]:
        values = compute(found)
        for name, value in zip(names, values.get("IoU", ()), strict=False):
            if value == value:
                classes[name] = 100 * float(value)
        return values

    metric.get_return_metrics = keeping


def predictions(results: Results, number: int, search: int, size: int) -> list[Prediction]:
    """Return at most ``number`` best and ``number`` worst of ``search`` images, by mean IoU."""
    scores = rank(results, search)
    order = list(scores)
    best = order[: min(number, -(-len(order) // 2))]
    worst = order[max(len(best), len(order) - number) :]
    made = []
    for index in [*best, *reversed(worst)]:
        row, strip = results.panels(index)
        judged = [panel.title for panel in row if row is not strip and "IoU" in panel.title]
        remark = "; ".join(judged) if len(judged) > 1 else ""
        pictures = [_picture(panel, index, size) for panel in strip]
        made.append(Prediction(index, index in best, scores[index], remark, pictures))
    return made


def _picture(panel: Panel, index: int, size: int) -> Picture:
    import cv2

    from mmlevelset.visualization import draw_panels

    drawn = draw_panels([[replace(panel, title="")]], size)[8:-8, 8:-8]
    # Thin contours need colours at full resolution.
    sampling = cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444
    settings = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY, *sampling]
    _, encoded = cv2.imencode(".jpg", drawn, settings)
    data = base64.b64encode(encoded.tobytes()).decode()
    step = re.fullmatch(r"\$\\phi_\{(\d+)\}\$", panel.title)
    caption = Markup("φ<sub>{}</sub>").format(step[1]) if step else panel.title
    alt = f"contours of φ{step[1]}" if step else panel.title
    height, width = drawn.shape[:2]
    return Picture(
        caption, f"Image {index}: {alt}", f"data:image/jpeg;base64,{data}", width, height
    )
