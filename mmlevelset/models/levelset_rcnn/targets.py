import math

import torch
import torch.nn.functional as F
from mmcv.ops import roi_align
from torch import Tensor

from mmlevelset.ops import signed_distance


def tsdf_targets(
    masks: Tensor, boxes: Tensor, indices: Tensor, size: int, truncation: float
) -> tuple[Tensor, Tensor]:
    """Ground truth of every RoI of one image: its mask and the mask's exact TSDF.

    The mask is averaged over each cell of the RoI's grid and cut at one half. The distance also
    sees what lies outside the box, as far as the truncation reaches; outside the image is
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
    side = size + 2 * margin
    pad = (boxes[:, 2:] - boxes[:, :2]) * (margin / size)
    wide = torch.cat([boxes[:, :2] - pad, boxes[:, 2:] + pad], 1)
    rois = torch.cat([indices[:, None].to(wide), wide], 1).float()
    # Without a border of zeros, roi_align continues an object at the image's edge by a pixel.
    layers = F.pad(masks[:, None].float(), (1, 1, 1, 1))
    rois[:, 1:] += 1
    crops = roi_align(layers, rois, (side, side), 1.0, 0, "avg", True)[:, 0]
    inside = crops >= 0.5
    tsdf = signed_distance(inside, truncation)
    window = slice(margin, margin + size)
    return inside[:, window, window], tsdf[:, window, window]
