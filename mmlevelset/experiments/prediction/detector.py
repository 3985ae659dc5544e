"""A model that finds objects on photographs, and what it finds."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmlevelset.errors import InputError
from mmlevelset.experiments.command_line import build_model
from mmlevelset.experiments.weights.loading import Weights, load_strictly

if TYPE_CHECKING:
    import numpy as np
    from mmengine.config import Config
    from mmengine.structures import InstanceData
    from torch import Tensor

LOADERS = ("LoadImage", "LoadImageFromFile")


@dataclass
class Detections:
    """The n objects on a photograph, the best first.

    Attributes:
        image: The photograph (H, W, 3) uint8, BGR, turned as its EXIF data says.
        boxes: (n, 4) as x1, y1, x2, y2 in pixels of the image, exclusive right and bottom edges.
        scores: (n,) in [0, 1].
        labels: (n,) integers.
        names: The name of each label.
        rles: The masks in COCO's run-length encoding, with ``counts`` as a string.
        polygons: For each object closed polygons (P, 2) in pixels of the image; pixel i covers
            [i, i + 1). They are the zero contours of phi_N, below the size of a pixel, if the model
            has level sets, and otherwise the outlines of the masks.
        level_sets: phi_0..phi_N (n, N+1, h, w) on the boxes' grids, or None.
        refined: phi_N after a refinement (n, h, w), or None.
        initial: The outlines of the masks before the evolution or the refinement, or None.
    """

    image: np.ndarray
    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    names: list[str]
    rles: list[dict[str, Any]]
    polygons: list[list[np.ndarray]]
    level_sets: Tensor | None = None
    refined: Tensor | None = None
    initial: list[list[np.ndarray]] | None = None

    @property
    def size(self) -> tuple[int, int]:
        """The height and the width of the photograph."""
        return self.image.shape[0], self.image.shape[1]

    def __len__(self) -> int:
        return len(self.scores)


class Detector:
    """A config's model with weights, for photographs without annotations.

    Args:
        config: The config. Its test pipeline loads the photographs.
        weights: The weights.
        score_thr: Objects of a lower score are left out.

    Raises:
        InputError: The weights are not of the config's model, or the test pipeline loads no file.
    """

    def __init__(self, config: Config, weights: Weights, score_thr: float) -> None:
        self.model = build_model(config)
        load_strictly(self.model, weights)
        self._ask_for_level_sets()
        self._own_score_thr: float = self._settings.score_thr if self._settings else 0.0
        self.set_score_thr(score_thr)
        self._load, self._prepare = _pipeline(config)
        self.classes = weights.classes or _classes_of(config)

    def set_score_thr(self, score_thr: float) -> None:
        """From now on, leave out objects of a lower score."""
        self.score_thr = score_thr
        if self._settings:
            # A box of a lower score never removes another: its mask need not be made.
            self._settings.score_thr = max(self._own_score_thr, score_thr)

    @property
    def _settings(self) -> Any:
        """The test settings in which the score chooses the boxes that get masks, or None."""
        from mmdet.models.detectors import TwoStageDetector

        if not isinstance(self.model, TwoStageDetector):
            return None
        settings = self.model.roi_head.test_cfg
        plain = settings.get("nms", {}).get("type") == "nms" and "score_thr" in settings
        return settings if plain else None

    def _ask_for_level_sets(self) -> None:
        from mmdet.models.roi_heads.base_roi_head import BaseRoIHead

        for head in self.model.modules():
            if isinstance(head, BaseRoIHead) and head.with_mask:
                # Heads without level sets ignore these settings.
                head.test_cfg.update(initial_masks=True, level_sets=True, polygons=True)

    def read(self, photograph: Path) -> dict[str, Any]:
        """Return a photograph as the test pipeline loads it.

        Raises:
            OSError: The file does not exist, or cannot be read.
            ValueError: The file is no complete image.
        """
        return self._load(dict(img_path=str(photograph), img_id=0, instances=[]))

    def detect(self, loaded: dict[str, Any]) -> Detections:
        """Return the objects on a photograph that :meth:`read` has loaded.

        Raises:
            InputError: The model predicts no masks of objects.
            ValueError: A side would have no pixel in the network's input.
        """
        import cv2
        import torch
        from mmengine.dataset import pseudo_collate

        image = _bgr(loaded["img"])
        try:
            prepared = self._prepare(loaded)
        except cv2.error as error:
            height, width = image.shape[:2]
            raise ValueError(
                f"{width} x {height} pixels (width x height) are too narrow to be resized"
            ) from error
        with torch.no_grad():
            (sample,) = self.model.test_step(pseudo_collate([prepared]))
        if "masks" not in sample.get("pred_instances", {}):
            raise InputError("the config's model predicts no masks of objects")
        found = sample.pred_instances
        order = found.scores.argsort(descending=True, stable=True)
        return self._detections(image, found[order[found.scores[order] >= self.score_thr]])

    def _detections(self, image: np.ndarray, found: InstanceData) -> Detections:
        import numpy as np

        rles = _encoded(found.masks)
        boxes = found.bboxes.cpu().numpy().astype(np.float64)
        empty = (boxes[:, 2:] <= boxes[:, :2]).any(1)  # SOLO's are all zero
        for number in np.flatnonzero(empty):
            boxes[number] = _box_of(rles[number])
        labels = found.labels.cpu().numpy()
        initial = found.get("initial_masks")
        return Detections(
            image,
            boxes,
            found.scores.cpu().numpy().astype(np.float64),
            labels,
            [self._name(label) for label in labels.tolist()],
            rles,
            found.polygons if "polygons" in found else _outlines(found.masks),
            found.level_sets.cpu() if "level_sets" in found else None,
            found.refined_level_sets.cpu() if "refined_level_sets" in found else None,
            None if initial is None or "level_sets" in found else _outlines(initial),
        )

    def _name(self, label: int) -> str:
        return self.classes[label] if label < len(self.classes) else f"class {label}"


def _pipeline(config: Config) -> tuple[Any, Any]:
    """Return the config's loader of images, and its test pipeline without annotations."""
    from mmcv.transforms import Compose
    from mmdet.utils import get_test_pipeline_cfg

    if "test_dataloader" not in config:
        raise InputError("the config has no test_dataloader: its pipeline loads the photographs")
    steps = [dict(step) for step in get_test_pipeline_cfg(config)]
    names = [str(step["type"]).rpartition(".")[2] for step in steps]
    if not names or names[0] not in LOADERS:
        raise InputError(
            "the test pipeline of the config must begin with LoadImageFromFile or"
            f" mmlevelset.LoadImage, and begins with {names[0] if names else 'nothing'}"
        )
    # The package's loader names a file that is truncated or no image.
    loader = {key: value for key, value in steps[0].items() if key != "ignore_empty"}
    loader.update(type="mmlevelset.LoadImage", on_error="raise")
    others = [
        step
        for step, name in zip(steps[1:], names[1:], strict=True)
        if not re.match("Load(?!Image)", name)
    ]
    return Compose([loader]), Compose(others)


def _classes_of(config: Config) -> Sequence[str]:
    from mmdet.registry import DATASETS

    dataset = config.test_dataloader.dataset
    kind = DATASETS.get(dataset.get("type", ""))
    metainfo = dataset.get("metainfo") or getattr(kind, "METAINFO", {})
    return metainfo.get("classes", ())


def _bgr(image: np.ndarray) -> np.ndarray:
    """Return a loaded image as (H, W, 3) uint8, for pictures."""
    import cv2
    import numpy as np

    if image.dtype != np.uint8:
        image = image.clip(0, 255).round().astype(np.uint8)
    if image.ndim == 2 or image.shape[2] == 1:
        return cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)
    return np.ascontiguousarray(image[:, :, :3])


def _encoded(masks: Any) -> list[dict[str, Any]]:
    from mmdet.structures.mask import encode_mask_results

    from mmlevelset.models.inference import EncodedMasks

    if isinstance(masks, EncodedMasks):
        rles = masks.rles
    else:
        rles = encode_mask_results(masks.detach().cpu().numpy().astype(bool))
    return [
        dict(size=[int(side) for side in rle["size"]], counts=rle["counts"].decode())
        for rle in rles
    ]


def _outlines(masks: Any) -> list[list[np.ndarray]]:
    """Return the outlines of masks, one mask after the other: encoded masks may be many."""
    import numpy as np

    from mmlevelset.visualization import mask_polygons

    return [mask_polygons(np.asarray(mask)[None])[0] for mask in masks]


def _box_of(rle: dict[str, Any]) -> list[float]:
    from pycocotools import mask as mask_util

    x, y, w, h = mask_util.toBbox(dict(rle, counts=rle["counts"].encode()))
    return [x, y, x + w, y + h]
