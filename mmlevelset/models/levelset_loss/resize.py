"""Maps of one size to another, on one convention for logits, labels and images."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def resize_maps(maps: Tensor, size: Sequence[int], align_corners: bool = False) -> Tensor:
    """Maps (B, C, h, w) resized bilinearly to (B, C, *size), in float32 at least."""
    if maps.dtype in (torch.float16, torch.bfloat16):
        maps = maps.float()
    if maps.shape[2:] == tuple(size):
        return maps
    return F.interpolate(maps, tuple(size), mode="bilinear", align_corners=align_corners)


def shrink_labels(labels: Tensor, size: Sequence[int], align_corners: bool = False) -> Tensor:
    """Labels (B, H, W) at the pixels that the centres of (B, *size) pixels lie in."""
    rows, columns = (
        _nearest(before, after, align_corners).to(labels.device)
        for before, after in zip(labels.shape[1:], size, strict=True)
    )
    return labels[:, rows[:, None], columns]


def _nearest(before: int, after: int, align_corners: bool) -> Tensor:
    steps = torch.arange(after)
    if align_corners and after > 1:
        return (2 * steps * (before - 1) + after - 1) // (2 * (after - 1))  # rounded half up
    return (2 * steps + 1) * before // (2 * after)


def scaled_size(size: Sequence[int], scale: float, align_corners: bool) -> tuple[int, int]:
    """Height and width, at least 1, of a map of ``size`` scaled; 8n + 1 keeps its corners."""
    corner = int(align_corners)
    height, width = (max(round((side - corner) * scale) + corner, 1) for side in size)
    return height, width
