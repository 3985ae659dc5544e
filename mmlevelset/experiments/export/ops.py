"""The steps of a detector that torch.export cannot trace, as operators with ONNX translations.

torch.export keeps each operator as a node. In an ONNX file it becomes nodes of the standard:
NonMaxSuppression, RoiAlign, and a Scan over the masks. A ``.pt2`` file can be loaded after this
module is imported.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mmlevelset.ops.boxes import paste_level_sets


@torch.library.custom_op("mmlevelset::nms", mutates_args=())
def nms(
    boxes: Tensor, scores: Tensor, iou_threshold: float, score_threshold: float, limit: int
) -> Tensor:
    """Greedy non-maximum suppression: indices (n,) of the kept boxes, best score first.

    Args:
        boxes: (N, 4) as x1, y1, x2, y2.
        scores: (N,).
        iou_threshold: A box goes if its IoU with a better kept box is above this value.
        score_threshold: A box takes part if its score is above this value.
        limit: Largest n.
    """
    from mmcv.ops import nms as suppress

    parts = (scores > score_threshold).nonzero()[:, 0]
    if not len(parts):
        return parts
    kept = suppress(boxes[parts].contiguous(), scores[parts].contiguous(), iou_threshold)[1]
    return parts[kept[:limit]]


@nms.register_fake
def _(boxes, scores, iou_threshold, score_threshold, limit):
    count = torch.library.get_ctx().new_dynamic_size(min=0, max=limit)
    return boxes.new_empty(count, dtype=torch.int64)


@torch.library.custom_op("mmlevelset::roi_align", mutates_args=())
def roi_align(
    levels: list[Tensor],
    boxes: Tensor,
    owners: Tensor,
    size: int,
    scales: list[float],
    sampling_ratio: int,
) -> Tensor:
    """Crops (n, C, size, size) of one image's maps.

    Args:
        levels: Maps (1, C, h, w) of each level.
        boxes: (n, 4) as x1, y1, x2, y2 in pixels of the image.
        owners: The level (n,) of each box.
        size: Side of a crop in samples.
        scales: For each level, its samples in a pixel of the image.
        sampling_ratio: Points along each side of a sample; 0: as many as the box has samples.
    """
    from mmcv.ops import roi_align as align

    crops = levels[0].new_zeros(len(boxes), levels[0].shape[1], size, size)
    rois = torch.cat([boxes.new_zeros(len(boxes), 1), boxes], 1)
    for level, (maps, scale) in enumerate(zip(levels, scales, strict=True)):
        own = (owners == level).nonzero()[:, 0]
        if len(own):
            maps = maps.contiguous()  # roi_align reads memory as if it were
            crops[own] = align(maps, rois[own], (size, size), scale, sampling_ratio, "avg", True)
    return crops


@roi_align.register_fake
def _(levels, boxes, owners, size, scales, sampling_ratio):
    return levels[0].new_empty(boxes.shape[0], levels[0].shape[1], size, size)


@torch.library.custom_op("mmlevelset::paste", mutates_args=())
def paste(
    maps: Tensor, boxes: Tensor, height: int, width: int, threshold: float, border: bool
) -> Tensor:
    """Masks (n, height, width), bool, of maps on the grids of their boxes.

    Args:
        maps: (n, h, w).
        boxes: (n, 4) as x1, y1, x2, y2 in pixels of the masks.
        height: Height of the masks.
        width: Width of the masks.
        threshold: Of the interpolated map.
        border: True: level sets, continued up to the box's edges by their border samples and
            pasted as :func:`mmlevelset.ops.boxes.paste_level_sets` does; the mask is above the
            threshold, which must be 0. False: probabilities, interpolated towards an outside of 0
            as mmdet does; the mask is at the threshold or above.
    """
    if border:
        return paste_level_sets(maps, boxes, height, width)
    from mmdet.models.roi_heads.mask_heads.fcn_mask_head import _do_paste_mask

    masks = torch.zeros(len(maps), height, width, dtype=torch.bool, device=maps.device)
    for mask, each, box in zip(masks, maps, boxes, strict=True):
        values, window = _do_paste_mask(each[None, None], box[None], height, width)
        mask[window] = values[0] >= threshold
    return masks


@paste.register_fake
def _(maps, boxes, height, width, threshold, border):
    return maps.new_empty(maps.shape[0], height, width, dtype=torch.bool)
