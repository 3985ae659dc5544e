import math

import torch
import torch.nn.functional as F
from mmcv.ops import roi_align
from torch import Tensor

from mmlevelset.ops import signed_distance

MINIMUM_SLOPE = 0.1
"""The distance has slope 1; where it is flatter than this, the nearest boundary is not unique."""


def image_tsdf(
    masks: Tensor, boxes: Tensor, indices: Tensor, size: int, truncation: float, margin: int = 0
) -> Tensor:
    """Return the true TSDFs of the RoIs of one image, from distances between the image's pixels.

    The exact distance to the object's boundary is sampled at the centres of the RoI's grid. It also
    sees the object outside the box. Outside the image is background. The unit of the distance is
    the geometric mean of a sample's width and height.

    Args:
        masks: Masks of the image's objects (G, H, W), 0 or 1.
        boxes: RoIs (M, 4) as x1, y1, x2, y2 in pixels, exclusive right and bottom edges.
        indices: The object of each RoI (M,), long.
        size: Side of the grid, in samples.
        truncation: Truncation range, in samples of the grid.
        margin: Further samples on each side of the grid.

    Returns:
        (M, size + 2 margin, size + 2 margin), float32, in [-1, 1], positive inside.
    """
    side = size + 2 * margin
    boxes = boxes.float()
    tsdf = boxes.new_empty(len(boxes), side, side)
    if not len(boxes):
        return tsdf
    sample = ((boxes[:, 2:] - boxes[:, :2]) / size).clamp(min=1e-6)
    reach = truncation * sample.prod(1).sqrt()
    # The centre of the first sample, and pixels that can lie nearest to a sample of the grid.
    first = boxes[:, :2] + (0.5 - margin) * sample
    last = first + (side - 1) * sample
    far = reach[:, None] + 2
    windows = torch.cat([(first - far).floor(), (last + far).ceil()], 1)
    bounds = torch.cat([windows, reach[:, None]], 1).tolist()
    steps = torch.arange(side, device=boxes.device)
    for index, rois in _by_object(indices.tolist()).items():
        left, top = (min(bounds[roi][axis] for roi in rois) for axis in (0, 1))
        right, bottom = (max(bounds[roi][axis] for roi in rois) for axis in (2, 3))
        window = _window(masks[index], int(left), int(top), int(right), int(bottom))
        # Beyond the truncation, interpolation would see the cut.
        limit = max(bounds[roi][4] for roi in rois) + 2
        distance = signed_distance(window[None], limit)[:, None] * limit
        corner = first[rois] - first.new_tensor([left, top])
        at = corner[:, None] + steps[:, None] * sample[rois, None]  # (m, side, x and y)
        at = at / at.new_tensor([right - left, bottom - top]) * 2 - 1
        grid = torch.stack(torch.broadcast_tensors(at[:, None, :, 0], at[:, :, None, 1]), -1)
        found = F.grid_sample(
            distance, grid.flatten(0, 1)[None], padding_mode="border", align_corners=False
        )
        tsdf[rois] = found.view(len(rois), side, side) / reach[rois, None, None]
    return tsdf.clamp_(-1, 1)


def _by_object(indices: list[int]) -> dict[int, list[int]]:
    """The RoIs of each object."""
    rois: dict[int, list[int]] = {}
    for roi, index in enumerate(indices):
        rois.setdefault(index, []).append(roi)
    return rois


def _window(mask: Tensor, left: int, top: int, right: int, bottom: int) -> Tensor:
    """Pixels left..right-1, top..bottom-1 of a mask (H, W), bool; False outside of the image."""
    height, width = mask.shape
    inside = mask[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)]
    if not inside.numel():
        return torch.zeros(bottom - top, right - left, dtype=torch.bool, device=mask.device)
    border = (max(-left, 0), max(right - width, 0), max(-top, 0), max(bottom - height, 0))
    return F.pad(inside != 0, border)


def grid_tsdf(
    masks: Tensor, boxes: Tensor, indices: Tensor, size: int, truncation: float, margin: int = 0
) -> Tensor:
    """Return TSDFs of masks that were first cut to the RoIs' grids.

    The mask is averaged over each cell of the RoI's grid and cut at one half. So the boundary lies
    between two samples, up to half a sample from the object's. Arguments, result and the rules of
    box and image are as in :func:`image_tsdf`.
    """
    wide = math.ceil(truncation)
    inside = inside_rois(masks, boxes, indices, size, margin + wide)
    side = size + 2 * margin
    return signed_distance(inside, truncation)[:, wide : wide + side, wide : wide + side]


TARGETS = {"image": image_tsdf, "grid": grid_tsdf}
"""The true TSDFs that a mask head can learn."""


def inside_rois(
    masks: Tensor, boxes: Tensor, indices: Tensor, size: int, margin: int = 0
) -> Tensor:
    """Return each RoI's mask with ``margin`` more samples on each side.

    The other arguments are as in :func:`image_tsdf`.

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
