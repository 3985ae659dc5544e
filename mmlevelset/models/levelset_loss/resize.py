"""Resizing of logits, labels and images with one convention of alignment."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def resize_maps(maps: Tensor, size: Sequence[int], align_corners: bool = False) -> Tensor:
    """Resize maps (B, C, h, w) bilinearly to (B, C, *size); half precision becomes float32."""
    if maps.dtype in (torch.float16, torch.bfloat16):
        maps = maps.float()
    if maps.shape[2:] == tuple(size):
        return maps
    return F.interpolate(maps, tuple(size), mode="bilinear", align_corners=align_corners)


def shrink_labels(labels: Tensor, size: Sequence[int], align_corners: bool = False) -> Tensor:
    """Shrink labels (B, H, W) to (B, *size): each pixel takes the label under its centre."""
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
    """Return the scaled height and width, at least 1.

    With ``align_corners`` the distance between the corner pixels is scaled: a side of 8n + 1 stays
    of this form.
    """
    corner = int(align_corners)
    height, width = (max(round((side - corner) * scale) + corner, 1) for side in size)
    return height, width
