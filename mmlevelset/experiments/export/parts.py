"""Steps that several detectors have before and after their networks."""

from __future__ import annotations

import copy
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmlevelset.errors import InputError


class Normalize(nn.Module):
    """The image as a network gets it: channels in its order, normalised and padded.

    Args:
        preprocessor: mmdet's ``DetDataPreprocessor``, for images in BGR.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, preprocessor: Any) -> None:
        super().__init__()
        # The file's image is RGB, the pipeline's is BGR.
        self.flip = not preprocessor._channel_conversion
        self.divisor = preprocessor.pad_size_divisor
        self.pad_value = float(preprocessor.pad_value)
        normalize = preprocessor._enable_normalize
        mean = preprocessor.mean if normalize else torch.zeros(3, 1, 1)
        std = preprocessor.std if normalize else torch.ones(3, 1, 1)
        self.register_buffer("mean", mean.clone())
        self.register_buffer("std", std.clone())

    def forward(self, image: Tensor) -> Tensor:
        """Return (1, 3, H, W) of an image (h, w, 3) of uint8 in RGB."""
        channels = image.permute(2, 0, 1)
        if self.flip:
            channels = channels.flip(0)
        normalized = (channels.float() - self.mean) / self.std
        height, width = (_whole(side, self.divisor) for side in image.shape[:2])
        return padded(normalized[None], height, width, self.pad_value)


def _whole(side: int, divisor: int) -> int:
    return (side + divisor - 1) // divisor * divisor


def padded(maps: Tensor, height: int, width: int, value: float) -> Tensor:
    """Maps (B, C, h, w), padded at the right and the bottom.

    By a gather: to torch.export a padding of 0 is another program than a padding of 1.
    """
    rows, columns = (torch.arange(side, device=maps.device) for side in (height, width))
    valid = (rows < maps.shape[2])[:, None] & (columns < maps.shape[3])
    rows, columns = rows.clamp(max=maps.shape[2] - 1), columns.clamp(max=maps.shape[3] - 1)
    return torch.where(valid, maps[:, :, rows][:, :, :, columns], value)


def traceable(model: nn.Module) -> nn.Module:
    """Return a copy of a model, with other layers where torch.export would fix the image's size."""
    from mmcv.cnn.bricks import Conv2dAdaptivePadding

    model = copy.deepcopy(model)
    for module in [*model.modules()]:
        for name, child in module.named_children():
            if isinstance(child, Conv2dAdaptivePadding):
                setattr(module, name, SameConv(child))
            elif isinstance(child, nn.Upsample) and child.scale_factor == 2:
                setattr(module, name, Doubled(child.mode, child.align_corners))
    return model


class SameConv(nn.Module):
    """mmcv's ``Conv2dAdaptivePadding``, with its padding in whole numbers."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.conv = conv

    def forward(self, maps: Tensor) -> Tensor:
        conv = self.conv
        pads: list[int] = []
        for axis in (1, 0):
            side, stride = maps.shape[2 + axis], conv.stride[axis]
            reach = (conv.kernel_size[axis] - 1) * conv.dilation[axis] + 1
            missing = max(((side + stride - 1) // stride - 1) * stride + reach - side, 0)
            pads += [missing // 2, missing - missing // 2]
        maps = F.pad(maps, pads)
        return F.conv2d(maps, conv.weight, conv.bias, conv.stride, 0, conv.dilation, conv.groups)


class Doubled(nn.Module):
    """``nn.Upsample(scale_factor=2)`` with its size in whole numbers."""

    def __init__(self, mode: str, align_corners: bool | None) -> None:
        super().__init__()
        self.mode, self.align_corners = mode, align_corners

    def forward(self, maps: Tensor) -> Tensor:
        size = (2 * maps.shape[2], 2 * maps.shape[3])
        return F.interpolate(maps, size, mode=self.mode, align_corners=self.align_corners)


def cut(maps: Tensor, height: int, width: int) -> Tensor:
    """Maps (B, C, H, W) without their padding: (B, C, height, width).

    By a gather: torch.export cannot prove that the padded maps are large enough for a slice.
    """
    rows, columns = (torch.arange(side, device=maps.device) for side in (height, width))
    return maps[:, :, rows][:, :, :, columns]


def sides(size: Tensor) -> tuple[int, int]:
    """Return height and width, of a tensor (2,), as numbers that torch.export can trace."""
    height, width = size[0].item(), size[1].item()
    for side in (height, width):
        torch._check(side >= 2)
        torch._check(side <= 2**20)
    return height, width  # type: ignore[return-value]


def clipped(boxes: Tensor, height: int, width: int) -> Tensor:
    """Boxes (..., 4) within an image."""
    limit = torch.stack([boxes.new_full((), width), boxes.new_full((), height)]).repeat(2)
    return boxes.clamp(min=0).minimum(limit)


def require_plain_nms(settings: Any, key: str) -> float:
    """Return the IoU threshold of settings of non-maximum suppression.

    Raises:
        InputError: The settings are not those of the plain algorithm.
    """
    unlike = set(settings) - {"type", "iou_threshold"}
    if settings.get("type", "nms") != "nms" or unlike:
        raise InputError(
            f"{key} must be dict(type='nms', iou_threshold=...) for an export, but is"
            f" {dict(settings)}"
        )
    return float(settings["iou_threshold"])
