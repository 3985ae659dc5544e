"""From level sets on the grids of boxes to the image, and from masks to boxes.

Boxes are x1, y1, x2, y2 in pixels, right and bottom edges exclusive; a pixel's centre lies at 0.5.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from mmlevelset.ops.checks import accumulation_dtype, check_shape
from mmlevelset.ops.contours import contours

if TYPE_CHECKING:
    import numpy as np


def paste_level_sets(phi: Tensor, boxes: Tensor, height: int, width: int) -> Tensor:
    """Return masks ``phi > 0`` at the size of the image, from level sets on their boxes' grids.

    mmdet's pasting interpolates towards an outside of zero, which moves a contour that runs
    along its box by half a sample. Here phi is interpolated within the box, continued by its
    border samples up to the box's edges, and ends there.

    Args:
        phi: Level sets (n, h, w), positive inside.
        boxes: (n, 4) as x1, y1, x2, y2 in pixels of the image, exclusive right and bottom edges.
        height: Height of the image.
        width: Width of the image.

    Returns:
        Bool (n, height, width). A pixel is judged at its centre, (column + 0.5, row + 0.5).
    """
    masks = _empty_masks(len(phi), height, width, phi.device)
    if not masks.numel():
        return masks
    phi = phi.to(accumulation_dtype(phi))
    # The pixels whose centres lie in the box.
    limit = boxes.new_tensor([width, height, width, height])
    windows = (boxes - 0.5).ceil().clamp(min=0).minimum(limit).long().tolist()
    left, right, share_x = _neighbours(boxes[:, 0], boxes[:, 2], width, phi.shape[2], phi)
    above, below, share_y = _neighbours(boxes[:, 1], boxes[:, 3], height, phi.shape[1], phi)
    for i, (x1, y1, x2, y2) in enumerate(windows):
        if x1 < x2 and y1 < y2:
            columns, rows = slice(x1, x2), slice(y1, y2)
            # Along x on the rows of the small grid first, then whole rows of the image.
            wide = torch.lerp(
                phi[i].index_select(1, left[i, columns]),
                phi[i].index_select(1, right[i, columns]),
                share_x[i, columns],
            )
            value = torch.lerp(
                wide.index_select(0, above[i, rows]),
                wide.index_select(0, below[i, rows]),
                share_y[i, rows, None],
            )
            torch.gt(value, 0, out=masks[i, rows, columns])
    return masks


def _empty_masks(count: int, height: int, width: int, device: torch.device) -> Tensor:
    """Zeros; on a CPU the system gives the pages at the first write, and most are never written."""
    if device.type == "cpu":
        try:
            import numpy as np
        except ImportError:
            pass
        else:
            return torch.from_numpy(np.zeros((count, height, width), bool))
    return torch.zeros(count, height, width, dtype=torch.bool, device=device)


def _neighbours(
    low: Tensor, high: Tensor, pixels: int, samples: int, like: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """For boxes and the centres of all pixels along an axis, (n, pixels): both samples and a share.

    Sample j lies at (j + 0.5) / samples of the box; the border samples continue to its edges.
    """
    low, high = low.to(like)[:, None], high.to(like)[:, None]
    centres = torch.arange(pixels, device=like.device, dtype=like.dtype) + 0.5
    place = (centres - low) / (high - low) * samples - 0.5
    place = place.nan_to_num(0.0).clamp(0, samples - 1)  # an empty box has no pixels
    first = place.floor()
    return first.long(), (first + 1).clamp(max=samples - 1).long(), place - first


def level_set_polygons(phi: Tensor, boxes: Tensor) -> list[list[np.ndarray]]:
    """Return outlines of objects in pixels of the image, from level sets on their boxes' grids.

    Args:
        phi: Level sets (n, h, w), floating point, positive inside. Sample (i, j) lies at
            x = x1 + (j + 0.5) (x2 - x1) / w, y = y1 + (i + 0.5) (y2 - y1) / h.
        boxes: (n, 4) as x1, y1, x2, y2 in pixels of the image, exclusive right and bottom edges.

    Returns:
        n lists of closed polygons (P, 2) float64 of (x, y), as of
        :func:`mmlevelset.ops.contours.contours`: outer boundaries have a positive signed area,
        holes a negative area. An object that fills its box ends on the box's edge.

    Raises:
        ValueError: The shapes do not fit, or phi or a box is not finite.
    """
    import numpy as np

    check_shape("phi", phi, ("n", "h", "w"))
    check_shape("boxes", boxes, (len(phi), 4))
    if not boxes.isfinite().all():
        raise ValueError("boxes must be finite, but hold NaN or infinity")
    corners = boxes.detach().double().cpu().numpy()
    samples = np.array([phi.shape[2], phi.shape[1]])
    return [
        [corner[:2] + (line + 0.5) / samples * (corner[2:] - corner[:2]) for line in lines]
        for corner, lines in zip(corners, contours(phi), strict=True)
    ]


def mask_boxes(inside: Tensor, margin: float) -> Tensor:
    """Return enlarged bounding boxes of masks, within their maps; the whole map for an empty mask.

    Args:
        inside: Masks (K, H, W), bool.
        margin: Added on each side, as a part of the box's height and width; at least a pixel.

    Returns:
        (K, 4) as x1, y1, x2, y2 in pixels, exclusive right and bottom edges, float32.
    """
    ends = []
    for along in (inside.any(1), inside.any(2)):
        side = along.shape[1]
        position = torch.arange(side, device=inside.device)
        empty = ~along.any(1)
        low = torch.where(along, position, side).amin(1).masked_fill(empty, 0).float()
        high = torch.where(along, position + 1, 0).amax(1).masked_fill(empty, side).float()
        grow = (margin * (high - low)).clamp(min=1)
        ends.append(((low - grow).clamp(min=0), (high + grow).clamp(max=side)))
    (left, right), (top, bottom) = ends
    return torch.stack([left, top, right, bottom], 1)


def paste_crops(crops: Tensor, boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Return maps (K, H, W) of ``size`` with crops (K, h, w) in their boxes; zero elsewhere."""
    height, width = size
    if not len(crops):
        return crops.sum().expand(0, height, width)  # still depends on the crops
    x1, y1, x2, y2 = boxes.to(crops).unbind(1)
    zero = torch.zeros_like(x1)
    # Matrices from the map's coordinates to the crop's; both run from -1 to 1.
    theta = torch.stack(
        [
            torch.stack([width / (x2 - x1), zero, (width - x1 - x2) / (x2 - x1)], 1),
            torch.stack([zero, height / (y2 - y1), (height - y1 - y2) / (y2 - y1)], 1),
        ],
        1,
    )
    grid = F.affine_grid(theta, [len(crops), 1, height, width], align_corners=False)
    pasted = F.grid_sample(crops[:, None], grid, padding_mode="border", align_corners=False)
    return pasted[:, 0] * (grid.abs() <= 1).all(-1)
