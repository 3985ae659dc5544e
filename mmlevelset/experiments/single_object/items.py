"""The images that networks and solvers are compared on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mmlevelset.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from mmengine.config import Config

CLEAN = "clean"
"""The images as they are; other conditions are named as degradations are: noise=20."""


@dataclass
class Item:
    """An image (H, W, 3) uint8, BGR, with its truths (A, H, W): 0, 1, and 255 for no label."""

    name: str
    image: np.ndarray
    truths: np.ndarray


def read_items(config: Config, which: str, count: int | None, size: Sequence[int]) -> list[Item]:
    """The first images of the test or training data, as the test pipeline makes them.

    ``size`` is the height and width of all, or (0,): each has its truth's.
    """
    from mmdet.registry import DATASETS
    from mmengine.registry import init_default_scope

    for name in ("test", which):
        if config.get(f"{name}_dataloader") is None:
            raise InputError(f"the config has no {name}_dataloader")
    init_default_scope(config.get("default_scope", "mmdet"))
    settings = config[f"{which}_dataloader"].dataset.copy()
    settings.pipeline = config.test_dataloader.dataset.pipeline
    dataset = DATASETS.build(settings)
    numbers = range(min(count or len(dataset), len(dataset)))
    return [read_item(dataset[number], f"{which} image {number}", size) for number in numbers]


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
            f" label {wrong[0]}; mmlevelset.BinaryLabels makes one of all"
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
        cv2.resize(one.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
        for one in truths
    ]
    return Item(str(sample.get("img_path") or name), image, np.stack(maps))


def images_under(
    items: Sequence[Item], condition: str, amounts: Mapping[str, float], seed: int
) -> list[np.ndarray]:
    """The images with a degradation; the same for the same seed, whatever the method."""
    import numpy as np

    from mmlevelset.datasets.degradation import degrade

    if condition == CLEAN:
        return [item.image for item in items]
    return [
        degrade(item.image, **amounts, rng=np.random.default_rng([seed, number]))
        for number, item in enumerate(items)
    ]
