"""Images for the comparison of networks and classic solvers, and their truths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mmlevelset.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from mmengine.config import Config

CLEAN = "clean"
"""The condition without degradation. Others are named after their degradation: noise=20."""


@dataclass
class Item:
    """An image with its truths.

    Attributes:
        name: The image's path, or its number in the data.
        image: (H, W, 3) uint8, BGR.
        truths: (A, H, W) uint8, of A annotators: 0 background, 1 object, 255 no label.
    """

    name: str
    image: np.ndarray
    truths: np.ndarray


def read_items(config: Config, split: str, count: int | None, size: Sequence[int]) -> list[Item]:
    """Read the first images of the test or training data through the test pipeline.

    Args:
        config: The config of the data.
        split: ``test`` or ``train``.
        count: Number of images, or None for all.
        size: Height and width of all images, or (0,): each image has its truth's size.

    Raises:
        InputError: The data has no label maps, or other labels than 0, 1 and 255; or the images do
            not have 8 bits and three channels.
    """
    from mmdet.registry import DATASETS
    from mmengine.registry import init_default_scope

    for name in ("test", split):
        if config.get(f"{name}_dataloader") is None:
            raise InputError(f"the config has no {name}_dataloader")
    init_default_scope(config.get("default_scope", "mmdet"))
    settings = config[f"{split}_dataloader"].dataset.copy()
    settings.pipeline = config.test_dataloader.dataset.pipeline
    dataset = DATASETS.build(settings)
    numbers = range(min(count or len(dataset), len(dataset)))
    return [read_item(dataset[number], f"{split} image {number}", size) for number in numbers]


def read_item(data: dict, name: str, size: Sequence[int]) -> Item:
    import cv2
    import numpy as np

    sample = data["data_samples"]
    if sample.get("annotator_maps") is not None:
        truths = np.asarray(sample.annotator_maps)
    elif "gt_sem_seg" in sample:
        truths = sample.gt_sem_seg.sem_seg.numpy()
    else:
        raise InputError(
            f"the config's test pipeline must load label maps, but {name} has no gt_sem_seg"
        )
    wrong = np.setdiff1d(truths, (0, 1, 255))
    if len(wrong):
        raise InputError(
            f"the config's data must have one object an image, labels 0 and 1, but {name} has"
            f" label {wrong[0]}; mmlevelset.BinaryLabels joins all objects to one"
        )
    image = data["inputs"].permute(1, 2, 0).contiguous().numpy()
    if image.dtype != np.uint8 or image.shape[2] != 3:
        raise InputError(
            f"the config's test pipeline must give images of 8 bits and three channels, but {name}"
            f" is {image.dtype} {image.shape}"
        )
    height, width = truths.shape[1:] if tuple(size) == (0,) else size
    if image.shape[:2] != (height, width):
        shrinks = height * width < image.shape[0] * image.shape[1]
        way = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        image = cv2.resize(image, (width, height), interpolation=way)
    maps = [
        cv2.resize(truth.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
        for truth in truths
    ]
    return Item(str(sample.get("img_path") or name), image, np.stack(maps))


def images_under(
    items: Sequence[Item], condition: str, amounts: Mapping[str, float], seed: int
) -> list[np.ndarray]:
    """Return the images under a condition. The degradations depend on the seed alone."""
    import numpy as np

    from mmlevelset.datasets.degradation import degrade

    if condition == CLEAN:
        return [item.image for item in items]
    return [
        degrade(item.image, **amounts, rng=np.random.default_rng([seed, number]))
        for number, item in enumerate(items)
    ]
