"""The networks for label maps as functions of an image: semantic segmentors and RLS."""

from __future__ import annotations

from fractions import Fraction
from functools import reduce
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmlevelset.errors import InputError
from mmlevelset.experiments.export.parts import Normalize, cut, padded, sides


class Semantic(nn.Module):
    """A semantic network, from the image to the class of each pixel.

    Args:
        model: ``mmlevelset.SemanticSegmentor``, in evaluation mode.

    Raises:
        InputError: The network runs on sliding windows.
    """

    smallest_side = 65

    def __init__(self, model: Any) -> None:
        super().__init__()
        if model.inference.mode != "whole":
            raise InputError(
                "model.test_cfg.mode must be 'whole' for an export, but is"
                f" {model.inference.mode!r}"
            )
        self.model = model
        self.normalize = Normalize(model.data_preprocessor)

    def forward(self, image: Tensor, size: Tensor) -> dict[str, Tensor]:
        """Return the class of each pixel.

        Args:
            image: uint8 (h, w, 3), RGB, at the size of the network's input.
            size: int64 (2,), height and width of the result.
        """
        model, aligned = self.model, self.model.align_corners
        corner, step = int(aligned), self.model.step
        images = self.normalize(image)
        whole = [(side - corner + step - 1) // step * step + corner for side in images.shape[2:]]
        images = padded(images, whole[0], whole[1], 0.0)
        scales = (1.0,) if model.multi_scale is None else model.multi_scale.scales
        results = {}
        for scale in (1.0, *scales):
            scaled = images
            if scale != 1:
                part = Fraction(scale).limit_denominator(20)
                target = [
                    (side - corner) * part.numerator // part.denominator + corner for side in whole
                ]
                scaled = _resized(images, target, aligned)
            if scale not in results:
                results[scale] = model.decode_head(model.extract_feat(scaled))
        grid = results[1.0].shape[2:]
        maps = [
            each if scale == 1 else _resized(each, grid, aligned) for scale, each in results.items()
        ]
        logits = _resized(reduce(torch.maximum, maps), whole, aligned)
        logits = cut(logits, image.shape[0], image.shape[1])
        logits = _resized(logits, sides(size), False)[0]
        return dict(label_map=logits.argmax(0), logits=logits)


class SingleObject(nn.Module):
    """A network for the one object of an image, from the image to the object's pixels.

    Args:
        model: ``mmlevelset.RLS``, in evaluation mode.

    Raises:
        InputError: The network starts from noise at the size of each image.
    """

    smallest_side = 16
    initial: Tensor | None

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        self.normalize = Normalize(model.data_preprocessor)
        network = model.network
        self.recurrent = hasattr(network, "classify")
        initial = None
        if self.recurrent and model.input_size is not None:
            # Noise of a fixed seed is a constant.
            initial = network._start(torch.zeros(1, network.in_channels, *model.input_size))
        elif self.recurrent and network.initial == "random":
            raise InputError(
                "model.network.initial must be 'discs', or model.input_size be given, for an export"
            )
        self.register_buffer("initial", None if initial is None else initial.clone())

    def forward(self, image: Tensor, size: Tensor) -> dict[str, Tensor]:
        """Return 1 for the object's pixels and 0 for the others.

        Args:
            image: uint8 (h, w, 3), RGB.
            size: int64 (2,), height and width of the result.
        """
        pixels = cut(self.normalize(image), image.shape[0], image.shape[1])
        if self.model.input_size is not None:
            pixels = smoothly_resized(pixels[0], *self.model.input_size)[None]
        if self.model.standardise:
            pixels = F.instance_norm(pixels)
        found = (
            self.model.network(pixels, self.initial)
            if self.recurrent
            else self.model.network(pixels)
        )
        logits = found.logits[0]
        whole = smoothly_resized(logits, *sides(size))
        level_set = logits[1] - logits[0]
        return dict(label_map=whole.argmax(0), level_set=level_set)


def _resized(maps: Tensor, size: Any, aligned: bool) -> Tensor:
    return F.interpolate(maps, (size[0], size[1]), mode="bilinear", align_corners=aligned)


def smoothly_resized(maps: Tensor, height: int, width: int) -> Tensor:
    """Maps (C, h, w) at another size, bilinearly; smoothed where they shrink.

    The same as ``F.interpolate(antialias=True)``, as two matrix products.
    """
    rows = _weights(maps.shape[1], height, maps)
    columns = _weights(maps.shape[2], width, maps)
    return rows @ maps @ columns.T


def _weights(before: int, after: int, like: Tensor) -> Tensor:
    """Weights (after, before) of the old samples in each new sample."""
    ones = like.new_ones(())
    scale = (ones * before) / (ones * after)
    centres = (torch.arange(after, device=like.device) + 0.5) * scale
    samples = torch.arange(before, device=like.device) + 0.5
    weights = (1 - (centres[:, None] - samples).abs() / scale.clamp(min=1)).clamp(min=0)
    return weights / weights.sum(1, keepdim=True)
