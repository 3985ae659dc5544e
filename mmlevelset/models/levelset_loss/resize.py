"""Resizing of logits, labels and images with one convention of alignment.

A network of stride s has its logits on a grid of s pixels. With ``align_corners`` logit i lies at
pixel s * i, and the grid spans s * n + 1 pixels. Otherwise logit i lies in the middle of s pixels,
and the grid spans s * n pixels. Between maps that span a whole number of steps, resizing with
``align_corners`` puts each logit in its place.
"""

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

    With ``align_corners`` the distance between the corner pixels is scaled.
    """
    corner = int(align_corners)
    height, width = (max(round((side - corner) * scale) + corner, 1) for side in size)
    return height, width


def grid_size(size: Sequence[int], step: int, align_corners: bool) -> tuple[int, int]:
    """Return the smallest height and width that span whole steps and are not below ``size``."""
    corner = int(align_corners)
    height, width = (-(-(side - corner) // step) * step + corner for side in size)
    return height, width


def pad_to_grid(maps: Tensor, step: int, align_corners: bool, value: float = 0) -> Tensor:
    """Pad maps (..., H, W) at the right and the bottom to the size of :func:`grid_size`."""
    size = maps.shape[-2:]
    height, width = grid_size(size, step, align_corners)
    return F.pad(maps, (0, width - size[1], 0, height - size[0]), value=value)
