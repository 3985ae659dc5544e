"""The config's model and its exported file on the same images: what differs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

LARGEST_DIFFERENCE = 1e-4
"""Of scores, and of boxes as a part of the image's longer side."""
SMALLEST_SHARE = 0.999
"""Of the equal pixels, among the pixels that either result has in a mask."""

Run = Callable[[np.ndarray, np.ndarray], Mapping[str, np.ndarray]]
"""A model from image (h, w, 3) and size (2,) to its outputs by name."""


class Reference:
    """The config's model as mmdet tests it: with its pipeline, its heads, its data samples.

    Args:
        model: The model, in evaluation mode.
        resize: The config's ``Resize``, or None.
    """

    def __init__(self, model: Any, resize: dict | None) -> None:
        from mmcv.transforms import Compose

        keys = ("ori_shape", "img_shape", "scale_factor")
        pack = dict(type="mmdet.PackDetInputs", meta_keys=keys)
        self.pipeline = Compose([*([] if resize is None else [dict(resize)]), pack])
        self.model = model

    def load(self, image: np.ndarray) -> dict:
        """Return the model's data of an image, uint8 (H, W, 3), BGR."""
        shape = image.shape[:2]
        return self.pipeline(
            dict(img=image, ori_shape=shape, img_shape=shape, scale_factor=(1.0, 1.0))
        )

    def predict(self, data: dict) -> dict[str, np.ndarray]:
        """Return the results under the names that an exported model gives them."""
        import torch
        from mmengine.dataset import pseudo_collate

        with torch.no_grad():
            (sample,) = self.model.test_step(pseudo_collate([data]))
        if "pred_sem_seg" in sample:
            return dict(label_map=sample.pred_sem_seg.sem_seg[0].numpy())
        found = sample.pred_instances
        return dict(
            boxes=found.bboxes.numpy(),
            labels=found.labels.numpy().astype(np.int64),
            scores=found.scores.numpy(),
            masks=np.asarray(found.masks).astype(bool),
        )


def inputs_of(data: dict) -> tuple[np.ndarray, np.ndarray]:
    """Return the exported model's inputs for the model's data."""
    image = np.ascontiguousarray(data["inputs"].numpy().transpose(1, 2, 0)[..., ::-1])
    return image, np.array(data["data_samples"].ori_shape[:2], np.int64)


@dataclass
class Difference:
    """How two results of one image differ.

    Attributes:
        text: One line for a person.
        allowed: Whether the results count as equal.
    """

    text: str
    allowed: bool


def compare(wanted: Mapping[str, np.ndarray], got: Mapping[str, np.ndarray]) -> Difference:
    """Compare an exported model's result ``got`` with the model's result ``wanted``."""
    if "label_map" in wanted:
        share = float((wanted["label_map"] == got["label_map"]).mean())
        return Difference(f"{share:.4%} of the pixels equal", share >= SMALLEST_SHARE)
    count, found = len(wanted["labels"]), len(got["labels"])
    if count != found:
        return Difference(f"{count} objects in PyTorch, {found} in the file", False)
    if not count:
        return Difference("no objects in both", True)
    if (wanted["labels"] != got["labels"]).any():
        return Difference(f"{count} objects, of other classes or in another order", False)
    longest = max(wanted["masks"].shape[1:])
    boxes = float(np.abs(wanted["boxes"] - got["boxes"]).max()) / longest
    scores = float(np.abs(wanted["scores"] - got["scores"]).max())
    either = (wanted["masks"] | got["masks"]).sum()
    share = 1 - float((wanted["masks"] ^ got["masks"]).sum() / max(either, 1))
    return Difference(
        f"{count} objects; largest differences: boxes {boxes:.1e} of the image, scores"
        f" {scores:.1e}; {share:.4%} of the masks' pixels equal",
        max(boxes, scores) <= LARGEST_DIFFERENCE and share >= SMALLEST_SHARE,
    )
