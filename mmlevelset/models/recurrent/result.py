"""The result of networks for one object and its background, and its loss."""

from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor

from mmlevelset.ops.checks import check_floating, check_shape


class Segmentation(NamedTuple):
    """Result of a network for M images.

    Attributes:
        logits: Scores of background and foreground (M, 2, H, W), before the softmax.
        trajectory: Level sets phi_0..phi_N (N+1, M, H, W), positive inside. Empty (0, M, H, W) for
            a network without level sets.
    """

    logits: Tensor
    trajectory: Tensor


def segmentation_loss(logits: Tensor, target: Tensor, ignore_index: int = 255) -> Tensor:
    """Return the cross-entropy of the softmax over background and foreground.

    Args:
        logits: (M, 2, H, W).
        target: (M, H, W), bool or integers: 0 background, 1 foreground.
        ignore_index: The value of pixels without a label.

    Returns:
        The mean over images of the mean over an image's labelled pixels: a scalar, float32 at
        least. An image without labelled pixels counts as 0 with zero gradients; so does a batch
        without images.

    Raises:
        TypeError: The logits are not floating point, or the target is floating point.
        ValueError: A shape does not fit.
    """
    check_shape("logits", logits, ("M", 2, "H", "W"))
    check_floating(logits=logits)
    check_shape("target", target, (len(logits), *logits.shape[2:]))
    if target.is_floating_point():
        raise TypeError(f"target must be bool or integers, but is {target.dtype}")
    logits = logits.float() if logits.element_size() < 4 else logits
    target = target.long()
    losses = F.cross_entropy(logits, target, ignore_index=ignore_index, reduction="none")
    labelled = (target != ignore_index).sum((1, 2)).clamp(min=1)
    return (losses.sum((1, 2)) / labelled).sum() / max(len(target), 1)
