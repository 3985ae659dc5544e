"""Shared parts of the methods: features with images, results with names, counts, IoU, checks."""

from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate
from operator import itemgetter
from typing import Any, TypeVar

import torch
from mmdet.structures import DetDataSample
from mmdet.utils import reduce_mean
from mmengine.logging import MessageHub
from torch import Tensor, nn

Result = TypeVar("Result", bound=Tensor | tuple)
"""A head's result for RoIs, the first axis: a tensor, or a NamedTuple of tensors and None."""


class ImageFeatures(tuple[Tensor, ...]):
    """The feature maps of a batch, one map a level, and the images that they were made from.

    A detector's ``extract_feat`` returns it, and mmdet passes it to the heads as a tuple of maps.
    So a head always finds the pixels that belong to its features.

    Args:
        maps: One map (B, C', h, w) a level.
        images: The normalised images (B, C, H, W).
    """

    images: Tensor

    def __new__(cls, maps: Iterable[Tensor], images: Tensor) -> "ImageFeatures":
        features = super().__new__(cls, maps)
        features.images = images
        return features

    def __getnewargs__(self) -> tuple[tuple[Tensor, ...], Tensor]:
        """Arguments of ``__new__``, for ``copy`` and ``pickle``."""
        return tuple(self), self.images


def images_of(features: Sequence[Tensor], detector: str) -> Tensor:
    """Return the images (B, C, H, W) of features.

    Args:
        features: The result of the detector's ``extract_feat``.
        detector: The type of detector that gives images, for the error.

    Raises:
        RuntimeError: The features came without images.
    """
    if not isinstance(features, ImageFeatures):
        raise RuntimeError(
            "features must be mmlevelset.models.common.ImageFeatures, since the mask head needs the"
            f" input images, but are {type(features).__name__}: use the detector type {detector!r}"
        )
    return features.images


def map_fields(function: Callable[..., Tensor], *results: Result) -> Result:
    """Apply a function to results, field by field; an absent field stays None.

    A field may be a dict of tensors.

    Args:
        function: Takes one tensor of each result, and returns a tensor.
        *results: Results of one type, with the same fields present.
    """
    return _mapped(function, results)


def _mapped(function: Callable[..., Tensor], results: Sequence[Any]) -> Any:
    first = results[0]
    if first is None:
        return None
    if isinstance(first, Tensor):
        return function(*results)
    if isinstance(first, dict):
        return {name: _mapped(function, [own[name] for own in results]) for name in first}
    return type(first)(*(_mapped(function, own) for own in zip(*results, strict=True)))


def split_rois(result: Result, counts: Sequence[int]) -> list[Result]:
    """Split a result by its RoIs: the first ``counts[0]`` RoIs, then ``counts[1]``, and so on."""
    ends = accumulate(counts)
    windows = [slice(end - count, end) for end, count in zip(ends, counts, strict=True)]
    return [map_fields(itemgetter(window), result) for window in windows]


def mean_count(count: Tensor) -> Tensor:
    """Return the divisor of a process's sum that gives the mean over the items of all processes.

    Distributed training averages gradients over processes. If each process divided by its own
    number of items, an item would weigh more where its process has few others. Divided by the mean
    of these numbers, the sums average to the mean over all items, as in one process with all items.
    All processes must call this together.

    Args:
        count: The number of this process's items, floating point, a scalar, at least 0.

    Returns:
        The mean of the processes' numbers; 1 where no process has an item, so that losses are 0.
    """
    count = reduce_mean(count)
    return count.where(count > 0, 1)


def mean_iou(inside: Tensor, truth: Tensor) -> Tensor:
    """Return the mean IoU of masks with the true masks, (M, H, W) bool; 1 if there are none."""
    if not len(truth):
        return inside.new_ones((), dtype=torch.float32)
    intersection = (inside & truth).sum((1, 2))
    union = (inside | truth).sum((1, 2)).clamp(min=1)
    return (intersection / union).mean()


def check_roi_features(x: Tensor, roi_feat_size: tuple[int, ...]) -> None:
    """Raise ValueError unless RoI features (M, C, h, w) have the mask head's size."""
    if x.shape[2:] != roi_feat_size:
        raise ValueError(
            "roi_feat_size must be the output_size of mask_roi_extractor,"
            f" {tuple(x.shape[2:])}, but is {roi_feat_size}"
        )


def map_of_class(maps: Tensor, labels: Tensor | None, class_agnostic: bool) -> Tensor:
    """Return the map of each RoI's class.

    Args:
        maps: Maps of all classes (M, K, h, w).
        labels: Class of each RoI (M,); not used if ``class_agnostic``.
        class_agnostic: There is one map for all classes.

    Returns:
        (M, 1, h, w), float32.

    Raises:
        ValueError: The labels are missing.
    """
    if class_agnostic:
        return maps[:, :1].float()
    if labels is None:
        raise ValueError(
            "labels must be given unless class_agnostic is True: use mmlevelset.LevelSetRoIHead"
        )
    return maps[torch.arange(maps.shape[0], device=maps.device), labels][:, None].float()


def label_map(sample: DetDataSample, size: tuple[int, ...], loaders: str) -> Tensor:
    """Return the labels (1, H, W) of a data sample, padded like its batch.

    Args:
        sample: A data sample with ``gt_sem_seg``.
        size: Height and width of the batch's images.
        loaders: The transforms that load these labels, for the error.

    Raises:
        ValueError: The sample has no labels, or labels of another size.
    """
    if "gt_sem_seg" not in sample:
        raise ValueError(f"data samples must have gt_sem_seg: load it with {loaders}")
    labels = sample.gt_sem_seg.sem_seg
    if tuple(labels.shape) != (1, *size):
        raise ValueError(
            f"gt_sem_seg must have the size of the batch's images, (1, {size[0]}, {size[1]}),"
            f" but is {tuple(labels.shape)}; set pad_seg=True in data_preprocessor"
        )
    return labels


def check_initial_std(initial_std: float | None) -> None:
    """Raise ValueError unless a layer's ``initial_std`` is positive or None."""
    if initial_std is not None and not initial_std > 0:
        raise ValueError(f"initial_std must be positive, but is {initial_std}")


def start_small(layer: nn.Module, std: float | None) -> None:
    """Give a layer normal weights of this standard deviation and no bias; None: leave it."""
    if std is not None:
        nn.init.normal_(layer.weight, std=std)  # type: ignore[arg-type]
        nn.init.zeros_(layer.bias)  # type: ignore[arg-type]


def warmup_share(iterations: int) -> float:
    """Return the share of a warm-up that is over, in [0, 1]: it grows evenly with the iterations.

    Args:
        iterations: Length of the warm-up in iterations of mmengine's runner. 0: no warm-up.

    Raises:
        RuntimeError: There is a warm-up, and no runner counts its iterations.
    """
    if not iterations:
        return 1.0
    done = MessageHub.get_current_instance().get_info("iter")
    if done is None:
        raise RuntimeError(
            "warmup_iters counts iterations of mmengine's runner, but none runs: set it to 0"
        )
    return min(done / iterations, 1.0)


def check_choice(name: str, value: str, choices: Sequence[str]) -> None:
    """Raise ValueError unless the argument ``name`` has one of the choices as its value."""
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}, but is {value!r}")


def check_not_negative(**numbers: float) -> None:
    """Raise ValueError for the first argument that is no number of at least 0."""
    for name, number in numbers.items():
        if not isinstance(number, int | float) or not number >= 0:
            raise ValueError(f"{name} must be at least 0, but is {number!r}")


def check_positive_integers(**numbers: int) -> None:
    """Raise ValueError for the first argument that is not a positive integer."""
    for name, number in numbers.items():
        if not isinstance(number, int) or number < 1:
            raise ValueError(f"{name} must be a positive integer, but is {number!r}")
