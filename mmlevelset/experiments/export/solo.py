"""SOLOv2 and BoxLevelSet as one function of an image."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmlevelset.errors import InputError
from mmlevelset.experiments.export.parts import Normalize, cut, sides

SPARE = 2
"""Cells without a mask that are added to the candidates, and taken off at the end.

torch.export distinguishes batches of none, of one and of more; some ONNX operators fail on none.
"""


class SOLO(nn.Module):
    """A one-stage detector with a kernel for each cell, from the image to masks.

    Args:
        model: mmdet's ``SOLOv2`` or ``mmlevelset.BoxLevelSet``, in evaluation mode.

    Raises:
        InputError: The detector has a part that cannot be exported.
    """

    smallest_side = 65
    strides: Tensor

    def __init__(self, model: Any) -> None:
        super().__init__()
        head = model.mask_head
        if getattr(head, "refinement", None) is not None:
            raise InputError("model.mask_head.refinement must be None for an export of SOLOv2")
        if head.dynamic_conv_size != 1:
            raise InputError(
                "model.mask_head.dynamic_conv_size must be 1 for an export, but is"
                f" {head.dynamic_conv_size}"
            )
        self.model = model
        self.normalize = Normalize(model.data_preprocessor)
        cells = torch.tensor(head.num_grids).square()
        strides = torch.tensor(head.strides, dtype=torch.float32).repeat_interleave(cells)
        self.register_buffer("strides", strides)

    def forward(self, image: Tensor, size: Tensor) -> dict[str, Tensor]:
        """Return the detections of an image.

        Args:
            image: uint8 (h, w, 3), RGB, at the size of the network's input.
            size: int64 (2,), height and width of the masks.
        """
        head, settings = self.model.mask_head, self.model.mask_head.test_cfg
        images = self.normalize(image)
        levels, logits, features = _predictions(head, tuple(self.model.extract_feat(images)))
        kernels = torch.cat([each[0].flatten(1).T for each in levels])
        scores = torch.cat([_peaks(each.sigmoid())[0].flatten(1).T for each in logits])
        # Each class of each cell is a candidate.
        found = (scores.flatten() > settings.score_thr).nonzero()[:, 0]
        found = F.pad(found, (0, SPARE))
        cells, labels = found // head.num_classes, found % head.num_classes
        features = features[0]
        probabilities = (kernels[cells] @ features.flatten(1)).sigmoid()
        inside = probabilities > settings.mask_thr
        areas = inside.sum(1).float()
        real = torch.arange(found.shape[0], device=found.device) < found.shape[0] - SPARE
        real = real & (areas > self.strides[cells])
        quality = (probabilities * inside).sum(1) / areas.clamp(min=1)
        # A candidate that does not count comes last: it suppresses no other.
        ranks = torch.where(real, scores.flatten()[found] * quality, -1.0)
        ranks, order = self._suppressed(ranks, inside & real[:, None], labels, settings)
        kept = (ranks >= max(settings.filter_thr, 0)).nonzero()[:, 0]
        order = order[kept]
        height, width = sides(size)
        maps = probabilities[F.pad(order, (0, SPARE))]
        maps = maps.unflatten(1, (features.shape[1], features.shape[2]))
        whole = self._enlarged(maps, (image.shape[0], image.shape[1]), (height, width))
        masks = whole > settings.mask_thr
        boxes = _boxes(masks)
        return dict(
            boxes=boxes[:-SPARE],
            labels=labels[order],
            scores=ranks[kept],
            masks=masks[:-SPARE],
            mask_probabilities=maps[:-SPARE],
        )

    def _suppressed(
        self, scores: Tensor, inside: Tensor, labels: Tensor, settings: Any
    ) -> tuple[Tensor, Tensor]:
        """Decayed scores of the best candidates, in their order, and their numbers: matrix NMS."""
        count = scores.shape[0]
        if settings.nms_pre > 0:
            count = torch.sym_min(settings.nms_pre, count)
        scores, order = scores.topk(count)
        flat, labels = inside[order].float(), labels[order]
        common = flat @ flat.T
        areas = flat.sum(1)
        union = areas[:, None] + areas - common
        position = torch.arange(count, device=scores.device)
        rival = (labels[:, None] == labels) & (position[:, None] < position)
        overlap = torch.where(rival, common / union.clamp(min=1), 0.0)
        worst = overlap.amax(0)[:, None]
        if settings.kernel == "gaussian":
            decay = torch.exp(settings.sigma * (worst.square() - overlap.square()))
        else:
            decay = (1 - overlap) / (1 - worst)
        scores = scores * decay.amin(0)
        limit = settings.max_per_img
        count = torch.sym_min(limit, count) if limit > 0 else count
        scores, again = scores.topk(count)
        return scores, order[again]

    def _enlarged(self, maps: Tensor, shape: tuple[int, int], size: tuple[int, int]) -> Tensor:
        stride = self.model.mask_head.mask_stride
        padded = (maps.shape[1] * stride, maps.shape[2] * stride)
        maps = cut(_resized(maps[None], padded), *shape)
        return _resized(maps, size)[0]


def _resized(maps: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(maps, size, mode="bilinear", align_corners=False)


def _predictions(head: Any, x: tuple[Tensor, ...]) -> tuple[list[Tensor], list[Tensor], Tensor]:
    """Kernels and class logits of each level and the mask features: ``SOLOV2Head.forward``.

    mmdet's method makes coordinates and sizes by functions that torch.export takes for constants.
    """
    branch = head.mask_feature_head
    inputs = x[branch.start_level : branch.end_level + 1]
    features: Any = 0.0
    for number, (level, convs) in enumerate(zip(inputs, branch.convs_all_levels, strict=True)):
        last = number == len(inputs) - 1
        features = features + convs(_with_coordinates(level) if number and last else level)
    features = branch.conv_pred(features)
    halved = _resized(x[0], (x[0].shape[2] // 2, x[0].shape[3] // 2))
    enlarged = _resized(x[-1], (x[-2].shape[2], x[-2].shape[3]))
    kernels, logits = [], []
    for level, grid in zip((halved, *x[1:-1], enlarged), head.num_grids, strict=True):
        cells = _resized(_with_coordinates(level), (grid, grid))
        classes = cells[:, :-2]
        for conv in head.kernel_convs:
            cells = conv(cells)
        for conv in head.cls_convs:
            classes = conv(classes)
        kernels.append(head.conv_kernel(cells))
        logits.append(head.conv_cls(classes))
    return kernels, logits, features


def _with_coordinates(maps: Tensor) -> Tensor:
    """Maps (1, C, h, w) with x and y, from -1 to 1 over the map, as two more channels."""
    y, x = (_coordinates(side, maps) for side in maps.shape[2:])
    shape = (1, 1, maps.shape[2], maps.shape[3])
    return torch.cat([maps, x.expand(shape), y[:, None].expand(shape)], 1)


def _coordinates(side: int, like: Tensor) -> Tensor:
    position = torch.arange(side, device=like.device, dtype=like.dtype)
    return position * 2 / position[-1].clamp(min=1) - 1


def _peaks(scores: Tensor) -> Tensor:
    """Scores (1, K, S, S) of a level; a score below a neighbour's becomes zero, as in mmdet."""
    highest = F.max_pool2d(scores, 2, stride=1, padding=1)[:, :, :-1, :-1]
    return scores * (highest == scores)


def _boxes(masks: Tensor) -> Tensor:
    """Boxes (n, 4) that bound masks (n, H, W); zeros for an empty mask."""
    ends = []
    for along in (masks.any(1), masks.any(2)):
        side = along.shape[1]
        position = torch.arange(side, device=masks.device)
        low = torch.where(along, position, side).amin(1)
        high = torch.where(along, position + 1, 0).amax(1)
        ends.append((torch.minimum(low, high), high))
    (left, right), (top, bottom) = ends
    return torch.stack([left, top, right, bottom], 1).float()
