import math

import torch
import torch.nn.functional as F
from mmcv.ops import roi_align
from torch import Tensor

from mmlevelset.ops import signed_distance

MINIMUM_SLOPE = 0.1
"""The distance has slope 1; where it is flatter than this, the nearest boundary is not unique."""


def tsdf_targets(
    masks: Tensor, boxes: Tensor, indices: Tensor, size: int, truncation: float
) -> tuple[Tensor, Tensor]:
    """Return the ground truth of the RoIs of one image: masks and their exact TSDFs.

    The mask is averaged over each cell of the RoI's grid and cut at one half. The distance also
    sees the object outside the box, as far as the truncation reaches. Outside the image is
    background.

    Args:
        masks: Masks of the image's objects (G, H, W), 0 or 1.
        boxes: RoIs (M, 4) as x1, y1, x2, y2 in pixels, exclusive right and bottom edges.
        indices: The object of each RoI (M,), long.
        size: Side of the grid, in samples.
        truncation: Truncation range, in samples of the grid.

    Returns:
        Masks (M, size, size), bool, and TSDFs (M, size, size) in [-1, 1], float32.
    """
    margin = math.ceil(truncation)
    inside = inside_rois(masks, boxes, indices, size, margin)
    tsdf = signed_distance(inside, truncation)
    window = slice(margin, margin + size)
    return inside[:, window, window], tsdf[:, window, window]


def inside_rois(
    masks: Tensor, boxes: Tensor, indices: Tensor, size: int, margin: int = 0
) -> Tensor:
    """Return each RoI's mask with ``margin`` more samples on each side.

    The other arguments are as in :func:`tsdf_targets`.

    Returns:
        (M, size + 2 margin, size + 2 margin), bool.
    """
    side = size + 2 * margin
    pad = (boxes[:, 2:] - boxes[:, :2]) * (margin / size)
    wide = torch.cat([boxes[:, :2] - pad, boxes[:, 2:] + pad], 1)
    rois = torch.cat([indices[:, None].to(wide), wide], 1).float()
    # Without a border of zeros, roi_align continues an object at the image's edge by a pixel.
    layers = F.pad(masks[:, None].float(), (1, 1, 1, 1))
    rois[:, 1:] += 1
    return roi_align(layers, rois, (side, side), 1.0, 0, "avg", True)[:, 0] >= 0.5


def boundary_directions(inside: Tensor) -> Tensor:
    """Return the unit vector from each pixel towards the nearest boundary of its mask.

    The vector is minus the gradient of the exact distance to the boundary. On a medial axis, where
    two boundaries are equally near, it can be any vector, or zero.

    Args:
        inside: Masks (M, H, W), bool.

    Returns:
        x and y of the direction (M, 2, H, W), float32: of length 1, or 0 where there is none, as
        on a mask without boundary.
    """
    if not len(inside):
        return torch.zeros(0, 2, *inside.shape[1:], device=inside.device)
    distance = signed_distance(inside)
    # The signed distance has no kink at the boundary; the unsigned distance has.
    along_y, along_x = torch.gradient(distance, dim=(1, 2))
    towards = torch.stack([along_x, along_y], 1) * torch.where(inside, -1, 1)[:, None]
    length = torch.linalg.vector_norm(towards, dim=1, keepdim=True)
    return torch.where(length > MINIMUM_SLOPE, towards / length.clamp(min=MINIMUM_SLOPE), 0)
