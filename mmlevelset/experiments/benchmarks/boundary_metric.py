"""Benchmark of COCO's evaluation with the boundary metric AF, at the size of COCO's validation set.

The objects are blobs in a wide range of sizes. The detections are the objects' outlines, moved,
scaled and roughened; some have a wrong class. The row "AF and BF" is a part of the whole evaluation
of boxes and masks: it finds the true positives at ten IoU thresholds, and the F1 of their outlines.

python tools/benchmarks/boundary_metric.py                       # 5,000 images of 20 objects
python tools/benchmarks/boundary_metric.py --coco-eval faster-coco-eval
python tools/benchmarks/boundary_metric.py --images 200 --boundary-ap
"""

import argparse
import contextlib
import io
import logging
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from mmengine.fileio import dump
from mmengine.logging import MMLogger
from pycocotools import mask as mask_util
from scipy.ndimage import distance_transform_edt

from mmlevelset.evaluation import LevelSetCocoMetric, boundary_map, rle_boundary_f1
from mmlevelset.evaluation.coco_evaluation import COCO_EVALS
from mmlevelset.experiments.benchmarks import harness

CLASSES = tuple(f"class {number}" for number in range(80))
VERTICES = 40
HARMONICS = np.arange(2, 8)
TOLERANCES = (1, 2)


class Clock:
    """Seconds of wall clock and of this process's CPU time."""

    def __init__(self) -> None:
        self.start = time.perf_counter(), time.process_time()

    def read(self) -> np.ndarray:
        return np.subtract((time.perf_counter(), time.process_time()), self.start)


class TimedMetric(LevelSetCocoMetric):
    """The metric, with the time that its boundary values take."""

    def __init__(self, **kwargs) -> None:
        super().__init__(**kwargs)
        self.seconds: dict[str, np.ndarray] = {}

    def _boundary_values(self) -> dict[str, float]:
        clock = Clock()
        values = super()._boundary_values()
        self.seconds["of it AF and BF"] = clock.read()
        return values

    def _boundary_ap_values(self) -> dict[str, float]:
        clock = Clock()
        values = super()._boundary_ap_values()
        self.seconds["of it Boundary AP"] = clock.read()
        return values


def outlines(centres: np.ndarray, radii: np.ndarray, waves: np.ndarray) -> np.ndarray:
    """Return polygons (N, 2 * VERTICES) around centres (N, 2), with radii (N, 2) along x and y.

    Args:
        waves: Complex amplitudes (N, harmonics), as shares of the radius.
    """
    angles = np.linspace(0, 2 * np.pi, VERTICES, endpoint=False)
    factor = 1 + (waves @ np.exp(1j * HARMONICS[:, None] * angles)).real
    directions = np.stack([np.cos(angles), np.sin(angles)], -1)
    return (centres[:, None] + radii[:, None] * factor[..., None] * directions).reshape(
        len(centres), -1
    )


def random_waves(rng: np.random.Generator, count: int, scale: np.ndarray | float) -> np.ndarray:
    real, imaginary = rng.normal(size=(2, count, len(HARMONICS)))
    return np.reshape(scale, (-1, 1)) * (real + 1j * imaginary) / HARMONICS


def scene(
    rng: np.random.Generator, number: int, options: argparse.Namespace
) -> tuple[list[dict], dict]:
    """Return an image's COCO annotations (without ids) and its data sample with predictions."""
    height, width = options.size
    count = options.objects
    radii = np.exp(rng.uniform(np.log(5), np.log(90), (count, 1))) * rng.uniform(0.6, 1.4, (1, 2))
    centres = rng.uniform(0.05, 0.95, (count, 2)) * (width, height)
    waves = random_waves(rng, count, 0.15)
    present = rng.choice(len(CLASSES), 4, replace=False)
    labels = rng.choice(present, count)
    annotations = []
    polygons = outlines(centres, radii, waves).clip(0, (width, height) * VERTICES).round(2).tolist()
    rles = mask_util.frPyObjects(polygons, height, width)
    for polygon, label, area, box in zip(
        polygons, labels, mask_util.area(rles), mask_util.toBbox(rles), strict=True
    ):
        annotations.append(
            dict(
                image_id=number,
                category_id=int(label) + 1,
                iscrowd=0,
                area=float(area),
                bbox=box.tolist(),
                segmentation=[polygon],
            )
        )

    source = np.repeat(np.arange(count), options.detections)
    error = rng.gamma(1.5, 0.06, len(source))
    shift = rng.normal(size=(len(source), 2)) * error[:, None] * radii[source]
    scale = 1 + 0.5 * error[:, None] * rng.normal(size=(len(source), 2))
    polygons = outlines(
        centres[source] + shift,
        radii[source] * scale,
        waves[source] + random_waves(rng, len(source), error),
    )
    masks = mask_util.frPyObjects(polygons.tolist(), height, width)
    boxes = mask_util.toBbox(masks)
    boxes[:, 2:] += boxes[:, :2]
    wrong = rng.random(len(source)) < 0.1
    predictions = dict(
        bboxes=torch.from_numpy(boxes.astype(np.float32)),
        labels=torch.from_numpy(np.where(wrong, rng.choice(present, len(source)), labels[source])),
        scores=torch.from_numpy((rng.random(len(source)) * np.exp(-4 * error)).astype(np.float32)),
        masks=masks,
    )
    sample = dict(img_id=number, ori_shape=(height, width), pred_instances=predictions)
    return annotations, sample


def f1_by_distance(pred: dict, target: dict) -> list[float]:
    """Return F1 by the metric's definition, with exact distances over the whole image."""
    edges = boundary_map(mask_util.decode([pred, target]).transpose(2, 0, 1)).astype(bool)
    far = [distance_transform_edt(~edge) for edge in edges]
    scores = []
    for tolerance in TOLERANCES:
        precision = (far[1][edges[0]] <= tolerance).mean()
        recall = (far[0][edges[1]] <= tolerance).mean()
        scores.append(2 * precision * recall / max(precision + recall, 1e-12))
    return scores


def check(options: argparse.Namespace) -> None:
    """End the benchmark unless F1 has the values of its definition."""
    rng = np.random.default_rng(options.seed)
    got, want = [], []
    for number in range(3):
        annotations, sample = scene(rng, number, options)
        height, width = options.size
        truths = mask_util.frPyObjects([a["segmentation"][0] for a in annotations], height, width)
        masks = sample["pred_instances"]["masks"][:: options.detections]
        for truth, mask in zip(truths, masks, strict=True):
            if mask_util.area([mask, truth]).all():
                got.append(rle_boundary_f1(mask, truth, TOLERANCES))
                want.append(f1_by_distance(mask, truth))
    gate = harness.Gate()
    gate.close("F1, exact distances", torch.tensor(np.array(got)), torch.tensor(want), 1e-12)
    gate.finish()


def filled_metric(options: argparse.Namespace, path: Path) -> tuple[TimedMetric, int]:
    """Return the metric with all predictions, and the number of objects.

    The ground truth is written to ``path``.
    """
    rng = np.random.default_rng(options.seed)
    height, width = options.size
    images: list[dict] = []
    truths: list[dict] = []
    samples: list[dict] = []
    for number in range(1, options.images + 1):
        annotations, sample = scene(rng, number, options)
        images.append(dict(id=number, height=height, width=width, file_name=""))
        truths += [dict(id=len(truths) + i, **object_) for i, object_ in enumerate(annotations, 1)]
        samples.append(sample)
    categories = [dict(id=i, name=name) for i, name in enumerate(CLASSES, 1)]
    dump(dict(images=images, annotations=truths, categories=categories), path)
    metric = TimedMetric(
        ann_file=str(path),
        metric=["bbox", "segm"],
        boundary_ap=options.boundary_ap,
        coco_eval=options.coco_eval,
    )
    metric.dataset_meta = dict(classes=CLASSES)
    metric.process({}, samples)
    return metric, len(truths)


def main(words: Sequence[str] | None = None) -> None:
    parser = harness.arguments(__doc__.splitlines()[0], threads=1)
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--objects", type=int, default=20, help="objects of an image")
    parser.add_argument("--detections", type=int, default=3, help="detections of an object")
    parser.add_argument("--size", type=int, nargs=2, default=(480, 640), metavar=("H", "W"))
    parser.add_argument("--coco-eval", choices=COCO_EVALS, default=COCO_EVALS[0])
    parser.add_argument("--boundary-ap", action="store_true", help="time Boundary AP as well")
    options = parser.parse_args(words)
    harness.prepare(options, words)
    cv2.setNumThreads(options.threads)
    MMLogger.get_current_instance().setLevel(logging.WARNING)
    check(options)

    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        clock = Clock()
        metric, objects = filled_metric(options, Path(folder) / "truth.json")
        made = clock.read()[0]
        clock = Clock()
        values = metric.evaluate(options.images)
        seconds = {"whole evaluation": clock.read(), **metric.seconds}

    height, width = options.size
    print(
        f"\n{options.images} images of {height} x {width}, {objects} objects, "
        f"{objects * options.detections} detections, made in {made:.0f} s"
    )
    names = ["bbox_mAP", "segm_mAP", "AF_1", "AF_2"] + ["boundary_mAP"] * options.boundary_ap
    print(", ".join(f"{name} {values[f'coco/{name}']:.3f}" for name in names) + "\n")
    rows = [
        [name, f"{wall:.1f}", f"{cpu:.1f}", f"{1e3 * wall / options.images:.1f}"]
        for name, (wall, cpu) in seconds.items()
    ]
    print(harness.table(["", "seconds", "of CPU time", "ms an image"], rows))
