import math
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple

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
    if not len(boxes):
        return boxes.new_zeros(0, side, side, dtype=torch.float32)
    indices, order = indices.sort(stable=True)
    boxes = boxes[order].float()
    sample = ((boxes[:, 2:] - boxes[:, :2]) / size).clamp(min=1e-6)
    reach = truncation * sample.prod(1).sqrt()
    # The centre of the first sample, and pixels that can lie nearest to a sample of the grid.
    first = boxes[:, :2] + (0.5 - margin) * sample
    far = reach[:, None] + 2
    end = far + far.new_tensor(masks.shape[:0:-1])
    low = (first - far).clamp(-far, end)
    high = (first + (side - 1) * sample + far).clamp(-far, end)
    objects = _objects(torch.cat([indices[:, None].to(reach), low, high, far], 1).tolist())
    steps = torch.arange(side, device=boxes.device)
    found = []
    for own, distance in zip(objects, _distances(masks, objects), strict=True):
        corner = first[own.rois] - first.new_tensor([own.left, own.top])
        at = corner[:, None] + steps[:, None] * sample[own.rois, None]  # (m, side, x and y)
        at = at / at.new_tensor(distance.shape[::-1]) * 2 - 1
        grid = torch.stack(torch.broadcast_tensors(at[:, None, :, 0], at[:, :, None, 1]), -1)
        sampled = F.grid_sample(
            distance[None, None],
            grid.flatten(0, 1)[None],
            padding_mode="border",
            align_corners=False,
        )
        found.append(sampled.view(-1, side, side))
    tsdf = (torch.cat(found) / reach[:, None, None]).clamp_(-1, 1)
    return tsdf[order.argsort()]


class _Object(NamedTuple):
    """An object, its RoIs, and the window of pixels that decide on their targets."""

    number: int
    rois: slice
    left: int
    top: int
    right: int
    bottom: int
    limit: float


def _objects(rows: list[list[float]]) -> list[_Object]:
    """Objects from RoIs, sorted by object: index, left, top, right, bottom, reach of each."""
    objects, start = [], 0
    for index, group in groupby(rows, key=itemgetter(0)):
        columns = list(zip(*group, strict=True))
        left, top = (math.floor(min(columns[k])) for k in (1, 2))
        right, bottom = (math.ceil(max(columns[k])) for k in (3, 4))
        stop = start + len(columns[0])
        window = (left, top, max(right, left + 1), max(bottom, top + 1))
        objects.append(_Object(int(index), slice(start, stop), *window, max(columns[5])))
        start = stop
    return objects


def _distances(masks: Tensor, objects: list[_Object]) -> list[Tensor]:
    """Signed distance in pixels in each object's window, exact as far as its RoIs reach."""
    windows = [_window(masks[own.number], own) for own in objects]
    if masks.device.type == "cpu":
        return [
            signed_distance(window[None], own.limit)[0] * own.limit
            for window, own in zip(windows, objects, strict=True)
        ]
    # One transform of all windows: it launches kernels for each pixel of the reach.
    height, width = (max(window.shape[k] for window in windows) for k in (0, 1))
    limit = max(own.limit for own in objects)
    layers = [F.pad(w, (0, width - w.shape[1], 0, height - w.shape[0])) for w in windows]
    distances = signed_distance(torch.stack(layers), limit) * limit
    return [
        distance[: window.shape[0], : window.shape[1]]
        for distance, window in zip(distances, windows, strict=True)
    ]


def _window(mask: Tensor, own: _Object) -> Tensor:
    """The window's pixels of a mask (H, W), bool; False outside of the image."""
    height, width = mask.shape
    window = mask.new_zeros(own.bottom - own.top, own.right - own.left, dtype=torch.bool)
    left, right = max(own.left, 0), min(own.right, width)
    top, bottom = max(own.top, 0), min(own.bottom, height)
    if left < right and top < bottom:
        inside = mask[top:bottom, left:right] != 0
        window[top - own.top : bottom - own.top, left - own.left : right - own.left] = inside
    return window


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
