from mmdet.structures import DetDataSample
from torch import Tensor


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
