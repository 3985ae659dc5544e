"""Targets of SOLOv2's grid cells from the boxes of a batch, for all boxes at once."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

MINIMUM_BOX_AREA = 10.0
"""Least area of a trained box, in square pixels, as in the released code."""


class Boxes(NamedTuple):
    """The ground truth of a batch, G boxes.

    Attributes:
        corners: x1, y1, x2, y2 (G, 4) in pixels of the padded images, right and bottom exclusive.
        labels: Classes (G,).
        image: Index in the batch (G,).
        edges: The corners of the box masks (G, 4): the boxes', or those of masks made of the boxes.
    """

    corners: Tensor
    labels: Tensor
    image: Tensor
    edges: Tensor

    @classmethod
    def of(cls, instances: Sequence, inclusive: bool) -> "Boxes":
        """Return the images' boxes.

        Args:
            instances: ``bboxes`` and ``labels`` of each image.
            inclusive: Take the edges from ``masks``, the boxes' masks of
                :class:`mmlevelset.datasets.LoadBoxMasks`.

        Raises:
            ValueError: ``inclusive`` is set, and an image has no masks.
        """
        corners = torch.cat([own.bboxes for own in instances]).float()
        edges = corners
        if inclusive:
            if not all("masks" in own for own in instances):
                raise ValueError(
                    "inclusive_boxes needs the masks of the boxes: the training pipeline must load"
                    " its annotations by mmlevelset.LoadBoxMasks"
                )
            found = [own.masks.get_bboxes("hbox").tensor for own in instances]
            edges = torch.cat(found).to(corners)
        counts = torch.tensor([len(own.bboxes) for own in instances], device=corners.device)
        image = torch.arange(len(instances), device=corners.device).repeat_interleave(counts)
        return cls(corners, torch.cat([own.labels for own in instances]), image, edges)


class Positives(NamedTuple):
    """The positive cells of a batch, P of them, ordered by image, level and cell.

    Attributes:
        cell: Index (P,) among all B * N cells of the batch, N cells of all levels an image.
        level: Level (P,) of the cell.
        box: Index (P,) of the cell's box.
    """

    cell: Tensor
    level: Tensor
    box: Tensor


def assign_cells(
    boxes: Boxes,
    batch: int,
    image_size: Sequence[int],
    num_grids: Sequence[int],
    scale_ranges: Sequence[tuple[float, float]],
    pos_scale: float,
) -> Positives:
    """SOLO's assignment (Wang et al. 2020), with the box's centre for the mask's centre of mass.

    A box belongs to every level whose scale range holds the root of its area. On such a level the
    cell of the box's centre is positive, and so are the neighbours of that cell that the box,
    shrunk by ``pos_scale``, touches. If two boxes claim a cell, the later box gets it.

    A position on the edge between two cells goes where SOLO's code puts it. That code divides the
    centre in float64, and the bounds of the shrunk box in float32, each by the rounded side of a
    cell; so a bound on an edge can belong to the cell before.

    Args:
        boxes: The ground truth.
        batch: Number of images.
        image_size: Height and width of the padded images.
        num_grids: Cells along one side, for each level.
        scale_ranges: Least and greatest scale in pixels, for each level.
        pos_scale: Size of the shrunk box relative to the box.
    """
    device = boxes.corners.device
    grids = torch.tensor(num_grids, device=device)
    first_cell = grids.square().cumsum(0) - grids.square()
    per_image = int(sum(grid * grid for grid in num_grids))
    ranges = torch.tensor(scale_ranges, device=device, dtype=torch.float32)[:, :, None]

    size = torch.tensor(tuple(image_size)[::-1], device=device, dtype=torch.float64)
    edges = torch.minimum(boxes.edges.double().clamp(min=0), size.repeat(2))
    extent = boxes.corners[:, 2:] - boxes.corners[:, :2]
    scale = extent.clamp(min=0).prod(1).sqrt()
    covered = (edges[:, 2:] - edges[:, :2]).clamp(min=0).prod(1)
    fits = (scale >= ranges[:, 0]) & (scale <= ranges[:, 1]) & (covered >= MINIMUM_BOX_AREA)

    # Pixels are counted by index, not by centre, as in mmdet's centre of mass.
    middle = (edges[:, :2] + edges[:, 2:]) / 2 - 0.5
    reach = extent * pos_scale / 2
    side = 1.0 / grids[:, None, None].double()

    def cell_of(point: Tensor) -> Tensor:
        """Column and row (levels, G, 2), by a floor division in the precision of the points."""
        return torch.floor_divide(point / size.to(point), side.to(point)).long()

    last = grids[:, None, None] - 1
    centre = cell_of(middle)
    low = torch.maximum(cell_of(middle.float() - reach).clamp(min=0), centre - 1)
    high = torch.minimum(torch.minimum(cell_of(middle.float() + reach), last), centre + 1)
    step = torch.arange(-1, 2, device=device)
    # (levels, G, rows, columns)
    column = centre[..., 0, None, None] + step
    row = centre[..., 1, None, None] + step[:, None]
    claims = fits[..., None, None]
    claims = claims & (column >= low[..., 0, None, None]) & (column <= high[..., 0, None, None])
    claims = claims & (row >= low[..., 1, None, None]) & (row <= high[..., 1, None, None])
    offset = first_cell[:, None] + per_image * boxes.image
    cell = row * grids[:, None, None, None] + column + offset[..., None, None]

    owner = torch.full((batch * per_image + 1,), -1, device=device)
    index = torch.arange(len(extent), device=device)[:, None, None].expand_as(cell)
    unclaimed = batch * per_image
    owner.scatter_reduce_(
        0, torch.where(claims, cell, unclaimed).flatten(), index.flatten(), "amax"
    )
    found = (owner[:-1] >= 0).nonzero().squeeze(1)
    level = torch.bucketize(found % per_image, first_cell, right=True) - 1
    return Positives(found, level, owner[found])


def box_masks(edges: Tensor, size: Sequence[int], image_size: Sequence[int]) -> Tensor:
    """Return masks (K, H, W), bool, of boxes (K, 4) on ``image_size``, shrunk to ``size``.

    The box's mask at full resolution is sampled bilinearly at the cells' centres; a cell is inside
    if its sample is at least one half. A box without a centre gets the cell that holds its middle.
    If the mask would still be empty, it gets the cells that the box covers most.
    """
    columns = _coverage(edges[:, 0], edges[:, 2], size[1], image_size[1] / size[1])
    rows = _coverage(edges[:, 1], edges[:, 3], size[0], image_size[0] / size[0])
    most = (rows.amax(1) * columns.amax(1))[:, None, None]
    return rows[:, :, None] * columns[:, None, :] >= most.clamp(max=0.5)


def _coverage(low: Tensor, high: Tensor, count: int, stride: float) -> Tensor:
    cell = torch.arange(count, device=low.device)
    centre = (cell + 0.5) * stride
    low, high = low[:, None], high[:, None]
    inside = (centre - low + 0.5).clamp(0, 1) * (high - centre + 0.5).clamp(0, 1)
    middle = ((low + high) / (2 * stride)).floor().clamp(0, count - 1)
    nothing = inside.amax(1, keepdim=True) < 0.5
    return torch.where(nothing, (cell == middle).to(inside), inside)
