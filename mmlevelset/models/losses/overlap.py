import torch
from torch import Tensor


def mean_iou(inside: Tensor, truth: Tensor) -> Tensor:
    """Mean IoU of masks (M, H, W), bool, with the true ones; 1 if there are none."""
    if not len(truth):
        return inside.new_ones((), dtype=torch.float32)
    intersection = (inside & truth).sum((1, 2))
    union = (inside | truth).sum((1, 2)).clamp(min=1)
    return (intersection / union).mean()
