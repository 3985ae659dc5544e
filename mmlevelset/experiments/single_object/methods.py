"""What compare_single_object.py compares: images of one object, networks and classic solvers."""

from __future__ import annotations

import re
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mmlevelset.errors import InputError
from mmlevelset.experiments.command_line import build_model, load_weights
from mmlevelset.experiments.single_object.items import Item

if TYPE_CHECKING:
    import numpy as np

    from mmlevelset.experiments.single_object.solvers import Tuning

MADE_BEFORE = r"Load|CropInstance|BinaryLabels"
"""Transforms of a network's test pipeline that make an image and its truth: both are there."""


@dataclass
class Segmented:
    """Masks (H, W) of images, and the iterations of each where the method has such."""

    masks: list[np.ndarray]
    iterations: list[int] = field(default_factory=list)


class Method(ABC):
    """Finds the object of images (H, W, 3) uint8, BGR."""

    name: str
    key: str
    """The name in files of numbers."""
    kind: str

    @abstractmethod
    def segment(self, images: Sequence[np.ndarray], progress: Callable[[int], object]) -> Segmented:
        """Segment any number of images; tell ``progress`` how many each step has done."""

    @abstractmethod
    def seconds(self, image: np.ndarray) -> float:
        """How long one image takes, without reading it."""

    def judged(self, mask: np.ndarray, truths: np.ndarray) -> np.ndarray:
        """The mask that counts as the object."""
        return mask

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """Its settings."""


class WholeImage(Method):
    """Calls all of each image the object: what costs nothing to reach."""

    name, key, kind = "whole image", "whole_image", "reference"

    def segment(self, images: Sequence[np.ndarray], progress: Callable[[int], object]) -> Segmented:
        import numpy as np

        progress(len(images))
        return Segmented([np.ones(image.shape[:2], dtype=bool) for image in images])

    def seconds(self, image: np.ndarray) -> float:
        return 0.0

    def describe(self) -> dict[str, Any]:
        return {}


class Classic(Method):
    """A solver of mmlevelset.ops, with some settings fixed, the others its own or tuned."""

    kind = "solver"
    tuning: Tuning | None = None

    def __init__(self, key: str, fixed: Mapping[str, Any], side: str, color: bool) -> None:
        from mmlevelset.experiments.single_object.solvers import SOLVERS, check_settings

        try:
            check_settings(key, fixed)
        except ValueError as error:
            raise InputError(f"--solver: {error}") from error
        self.key, self.fixed, self.side, self.color = key, fixed, side, color
        self.name = SOLVERS[key].title
        self.settings = SOLVERS[key].settings | dict(fixed)

    def tune(self, items: Sequence[Item], progress: Callable[[int], object]) -> None:
        """Take the settings of the grid that suit the (training) images best."""
        from mmlevelset.experiments.single_object.solvers import tune

        images = [self._prepared(item.image) for item in items]
        truths = [item.truths for item in items]
        self.tuning = tune(self.key, images, truths, self.fixed, self.side, progress)
        self.settings = self.tuning.best[0]

    def segment(self, images: Sequence[np.ndarray], progress: Callable[[int], object]) -> Segmented:
        from mmlevelset.experiments.single_object.solvers import solve

        prepared = [self._prepared(image) for image in images]
        found = solve(self.key, prepared, self.settings, progress)
        return Segmented([one.mask for one in found], [one.iterations for one in found])

    def seconds(self, image: np.ndarray) -> float:
        from mmlevelset.experiments.single_object.solvers import run

        prepared = self._prepared(image)
        start = time.perf_counter()
        run(self.key, prepared, self.settings)
        return time.perf_counter() - start

    def judged(self, mask: np.ndarray, truths: np.ndarray) -> np.ndarray:
        from mmlevelset.experiments.single_object.solvers import choose_side

        return choose_side(mask, truths, self.side)

    def describe(self) -> dict[str, Any]:
        tried = None
        if self.tuning is not None:
            tried = [dict(settings=one, f_measure=value) for one, value in self.tuning.tried]
        return dict(solver=self.key, settings=self.settings, tuning=tried)

    def _prepared(self, image: np.ndarray) -> np.ndarray:
        """Grey (H, W) or colours (3, H, W), float32."""
        import cv2
        import numpy as np

        if self.color:
            return np.ascontiguousarray(image.transpose(2, 0, 1), dtype=np.float32)
        return cv2.cvtColor(image, cv2.COLOR_BGR2GRAY).astype(np.float32)


class Network(Method):
    """A trained model that predicts semantic maps of labels 0 and 1.

    It sees images as its own config's test pipeline hands them on, resized there or in the model,
    and its maps are those at the images' size.
    """

    kind = "network"

    def __init__(self, name: str, path: str, checkpoint: str) -> None:
        from mmcv.transforms import Compose
        from mmdet.utils import get_test_pipeline_cfg
        from mmengine.config import Config

        self.name = self.key = name
        self.path, self.checkpoint = path, checkpoint
        try:
            config = Config.fromfile(path)
        except Exception as error:
            raise InputError(f"{path} cannot be read: {error}") from error
        self.model = build_model(config)
        load_weights(self.model, checkpoint)
        steps = get_test_pipeline_cfg(config)
        kept = [step for step in steps if not re.search(MADE_BEFORE, str(step["type"]))]
        self.prepare = Compose([dict(type="mmdet.LoadImageFromNDArray"), *kept])

    def segment(self, images: Sequence[np.ndarray], progress: Callable[[int], object]) -> Segmented:
        masks = []
        for image in images:
            masks.append(self._run(image)[0])
            progress(1)
        return Segmented(masks)

    def seconds(self, image: np.ndarray) -> float:
        return self._run(image)[1]

    def describe(self) -> dict[str, Any]:
        return dict(config=self.path, checkpoint=self.checkpoint)

    def _run(self, image: np.ndarray) -> tuple[np.ndarray, float]:
        import numpy as np
        import torch
        from mmengine.dataset import pseudo_collate

        batch = pseudo_collate([self.prepare(dict(img=image))])
        start = time.perf_counter()
        with torch.no_grad():
            (sample,) = self.model.test_step(batch)
        if "pred_sem_seg" not in sample:
            raise InputError(f"the model of {self.path} predicts no semantic map")
        labels = sample.pred_sem_seg.sem_seg[0].cpu().numpy()  # waits for the GPU
        spent = time.perf_counter() - start
        wrong = np.setdiff1d(labels, (0, 1))
        if len(wrong):
            raise InputError(
                f"the model of {self.path} must predict labels 0 and 1 alone, but predicts"
                f" {wrong[0]}"
            )
        return labels == 1, spent


@dataclass
class Result:
    """What a method reached: a list for each condition, with an entry for each image.

    ``scores`` are the F-measures (A,) in [0, 1] against each annotator; ``seconds`` those of the
    images that were timed.
    """

    method: Method
    masks: dict[str, list[np.ndarray]] = field(default_factory=dict)
    scores: dict[str, list[np.ndarray]] = field(default_factory=dict)
    iterations: dict[str, list[int]] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)


def compare(
    method: Method,
    items: Sequence[Item],
    images: Mapping[str, Sequence[np.ndarray]],
    timed: int,
    progress: Callable[[int], object],
) -> Result:
    """Run a method on the images of all conditions, and time it on the first so many."""
    from mmlevelset.experiments.single_object.solvers import score

    result = Result(method)
    for condition, degraded in images.items():
        found = method.segment(degraded, progress)
        pairs = zip(found.masks, items, strict=True)
        masks = [method.judged(mask, item.truths) for mask, item in pairs]
        result.masks[condition] = masks
        result.scores[condition] = [
            score(mask, item.truths) for mask, item in zip(masks, items, strict=True)
        ]
        result.iterations[condition] = found.iterations
    method.seconds(items[0].image)  # the first run is slower
    for item in items[:timed]:
        result.seconds.append(method.seconds(item.image))
        progress(1)
    return result
