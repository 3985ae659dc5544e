"""What several methods share: counts over processes, IoU, checks of RoI maps and label maps."""

import torch
from mmdet.structures import DetDataSample
from mmdet.utils import reduce_mean
from torch import Tensor


def mean_count(count: Tensor) -> Tensor:
    """What to divide a sum over a process's items by, for a mean over those of all processes.

    Distributed training averages gradients over processes. Sums that each process divides by its
    own number of items would weigh an item by how few others its process has; divided by the mean
    of these numbers, they are averaged to the mean over all items, as in one process with all of
    them. All processes must call this together.

    Args:
        count: The number of this process's items, floating point, a scalar, at least 0.

    Returns:
        The mean of the processes' numbers; 1 where no process has an item, so that sums are 0.
    """
    count = reduce_mean(count)
    return count.where(count > 0, 1)


def mean_iou(inside: Tensor, truth: Tensor) -> Tensor:
    """Mean IoU of masks (M, H, W), bool, with the true ones; 1 if there are none."""
    if not len(truth):
        return inside.new_ones((), dtype=torch.float32)
    intersection = (inside & truth).sum((1, 2))
    union = (inside | truth).sum((1, 2)).clamp(min=1)
    return (intersection / union).mean()


def check_roi_features(x: Tensor, roi_feat_size: tuple[int, ...]) -> None:
    """Raise ValueError unless RoI features (M, C, h, w) have the size that a mask head expects."""
    if x.shape[2:] != roi_feat_size:
        raise ValueError(
            "roi_feat_size must be the output_size of mask_roi_extractor,"
            f" {tuple(x.shape[2:])}, but is {roi_feat_size}"
        )


def map_of_class(maps: Tensor, labels: Tensor | None, class_agnostic: bool) -> Tensor:
    """The map of each RoI's class.

    Args:
        maps: Those of all classes (M, K, h, w).
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
    return maps[torch.arange(len(maps), device=maps.device), labels][:, None].float()


def label_map(sample: DetDataSample, size: tuple[int, ...], loaders: str) -> Tensor:
    """The labels (1, H, W) of a data sample, padded as its batch is.

    Args:
        sample: With ``gt_sem_seg``.
        size: Height and width of the batch's images.
        loaders: The transforms that load such labels, for the error.

    Raises:
        ValueError: There are no labels, or of another size.
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
