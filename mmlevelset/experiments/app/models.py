"""The shipped models on a photograph of the page."""

from __future__ import annotations

import functools
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mmlevelset.errors import InputError
from mmlevelset.experiments.weights.shipped import default_name, shipped_weights

if TYPE_CHECKING:
    from mmlevelset.experiments.prediction.detector import Detections, Detector

Outlines = list[list[np.ndarray]]
LOWEST_SCORE = 0.05


def model_names() -> list[str]:
    """Return the names of the shipped weights, the default first."""
    default = default_name()
    return sorted(shipped_weights(), key=lambda name: (name != default, name))


class Facts(NamedTuple):
    """What the file of a model says: the names of its classes, and its lowest score."""

    classes: tuple[str, ...]
    score_thr: float


@functools.cache
def model_facts(name: str) -> Facts:
    """Return the facts of shipped weights."""
    from mmlevelset.experiments.weights.loading import read_weights

    weights = read_weights(str(shipped_weights()[name]))
    return Facts(weights.classes or (), weights.meta.get("score_thr", 0.5))


def detect(name: str, pixels: np.ndarray, score_thr: float) -> Detections:
    """Return the objects that a shipped model finds.

    Args:
        name: The name of the weights.
        pixels: The photograph (H, W, 3) uint8, RGB.
        score_thr: Objects of a lower score are left out.

    Raises:
        InputError: There are no such weights, or the score is none. The message is a sentence.
    """
    from mmlevelset.files import write_picture

    if name not in shipped_weights():  # so no address and no other file is read
        raise InputError(f"The model must be one of {', '.join(model_names())}, not {name!r:.50}.")
    if not isinstance(score_thr, int | float) or not LOWEST_SCORE <= score_thr <= 1:
        raise InputError(
            f"The lowest score must be from {LOWEST_SCORE} to 1, and was {score_thr!r:.50}."
        )
    detector = _detector(name)
    detector.set_score_thr(float(score_thr))
    with TemporaryDirectory() as folder:
        file = Path(folder, "photograph.png")
        write_picture(file, np.ascontiguousarray(pixels[:, :, ::-1]))
        return detector.detect(detector.read(file))


@functools.lru_cache(maxsize=2)
def _detector(name: str) -> Detector:
    from mmlevelset.experiments.prediction.command import load_detector, parse

    source = str(shipped_weights()[name])
    return load_detector(source, parse(["-"]))


def steps_of(found: Detections) -> list[tuple[str, Outlines]]:
    """Return a title and the outlines of all objects for each step of a model.

    phi_0..phi_N and the refinement of a model with level sets; the masks before and after the
    refinement of a refined model; the masks alone of other models.
    """
    import torch

    from mmlevelset.ops.boxes import level_set_polygons

    if found.level_sets is not None and len(found):
        boxes = torch.from_numpy(found.boxes)
        named = [(f"step {n}", phi) for n, phi in enumerate(found.level_sets.float().unbind(1))]
        if found.refined is not None:
            named.append(("refined", found.refined.float()))
        return [(title, level_set_polygons(phi, boxes)) for title, phi in named]
    steps = [] if found.initial is None else [("before the refinement", found.initial)]
    return [*steps, ("masks", found.polygons)]


def union(found: Detections) -> np.ndarray:
    """Return the mask (H, W) bool of all objects together."""
    from pycocotools import mask as mask_util

    together = np.zeros(found.size, bool)
    for rle in found.rles:
        together |= mask_util.decode(dict(rle, counts=rle["counts"].encode())).astype(bool)
    return together
