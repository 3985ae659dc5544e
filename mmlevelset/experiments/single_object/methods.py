"""Methods that find the object of an image: networks, classic solvers, and the whole image."""

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

LOADING = r"Load|CropInstance|BinaryLabels"
"""Transforms that load an image and its truth. A network's test pipeline is used without them."""


@dataclass
class Segmented:
    """Masks (H, W) of images, and for a solver the iterations of each image."""

    masks: list[np.ndarray]
    iterations: list[int] = field(default_factory=list)


class Method(ABC):
    """A method that finds the object of images (H, W, 3) uint8, BGR.

    Attributes:
        name: The name in tables and pictures.
        key: The name in files of numbers.
        kind: ``network``, ``solver`` or ``reference``.
    """

    name: str
    key: str
    kind: str

    @abstractmethod
    def segment(self, images: Sequence[np.ndarray], progress: Callable[[int], object]) -> Segmented:
        """Segment images, and call ``progress`` with the number of images that are done."""

    @abstractmethod
    def seconds(self, image: np.ndarray) -> float:
        """Return the seconds that an image takes, without reading the image."""

    def judged(self, mask: np.ndarray, truths: np.ndarray) -> np.ndarray:
        """Return the mask that counts as the object."""
        return mask

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """Return the settings."""


class WholeImage(Method):
    """The reference: the whole image counts as the object."""

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
    """A solver of mmlevelset.ops. Some settings are fixed, the others are defaults or tuned.

    Args:
        key: Name of the solver in :data:`~mmlevelset.experiments.single_object.solvers.SOLVERS`.
        fixed: Settings that tuning keeps.
        side: The rule for the object's side of the contour, as in
            :func:`~mmlevelset.experiments.single_object.solvers.choose_side`.
        color: Whether the solver sees colours.

    Raises:
        InputError: The solver is unknown, or a setting does not fit.
    """

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
        """Take the settings of the grid with the best F-measure on training images."""
        from mmlevelset.experiments.single_object.solvers import tune

        images = [self._prepared(item.image) for item in items]
        truths = [item.truths for item in items]
        self.tuning = tune(self.key, images, truths, self.fixed, self.side, progress)
        self.settings = self.tuning.best[0]

    def segment(self, images: Sequence[np.ndarray], progress: Callable[[int], object]) -> Segmented:
        from mmlevelset.experiments.single_object.solvers import solve

        prepared = [self._prepared(image) for image in images]
        found = solve(self.key, prepared, self.settings, progress)
        masks = [solution.mask for solution in found]
        return Segmented(masks, [solution.iterations for solution in found])

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
            tried = [dict(settings=each, f_measure=value) for each, value in self.tuning.tried]
        return dict(solver=self.key, settings=self.settings, tuning=tried)

    def _prepared(self, image: np.ndarray) -> np.ndarray:
        """Return a grey image (H, W) or a colour image (3, H, W), float32."""
        import cv2
        import numpy as np

        if self.color:
            return np.ascontiguousarray(image.transpose(2, 0, 1), dtype=np.float32)
        return cv2.cvtColor(image, cv2.COLOR_BGR2GRAY).astype(np.float32)


class Network(Method):
    """A trained model that predicts label maps of labels 0 and 1.

    Each image goes through the test pipeline of the model's own config. The pipeline or the model
    may resize the image; the label map has the image's own size.

    Args:
        name: The name in tables.
        path: The model's config.
        checkpoint: The checkpoint.

    Raises:
        InputError: The config cannot be read, or the checkpoint is not of its model.
    """

    kind = "network"

    def __init__(self, name: str, path: str, checkpoint: str) -> None:
        from mmcv.transforms import Compose
        from mmdet.utils import get_test_pipeline_cfg

        from mmlevelset.experiments.overrides import read_config

        self.name = self.key = name
        self.path, self.checkpoint = path, checkpoint
        config = read_config(path)
        self.model = build_model(config)
        load_weights(self.model, checkpoint)
        steps = get_test_pipeline_cfg(config)
        kept = [step for step in steps if not re.search(LOADING, str(step["type"]))]
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
                f"the model of {self.path} must predict labels 0 and 1 alone, and predicts"
                f" {wrong[0]}"
            )
        return labels == 1, spent


@dataclass
class Result:
    """Results of a method: for each condition a list with an entry for each image.

    Attributes:
        method: The method.
        masks: Masks (H, W), bool.
        scores: F-measures (A,) in [0, 1] against each annotator.
        iterations: A solver's iterations.
        seconds: Seconds of the timed images.
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
    """Run a method on the images of all conditions, and time it on the first ``timed`` images."""
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
