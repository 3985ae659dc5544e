import torch
import torch.nn.functional as F
from torch import Tensor


def paste_level_sets(phi: Tensor, boxes: Tensor, height: int, width: int) -> Tensor:
    """Masks ``phi > 0`` at the size of the image, from level sets on the grids of their boxes.

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
    masks = torch.zeros(len(phi), height, width, dtype=torch.bool, device=phi.device)
    # The pixels whose centres lie in the box.
    limit = boxes.new_tensor([width, height, width, height])
    windows = (boxes - 0.5).ceil().clamp(min=0).minimum(limit).long().tolist()
    for mask, level_set, box, (left, top, right, bottom) in zip(
        masks, phi, boxes, windows, strict=True
    ):
        if left < right and top < bottom:
            x = _normalised(left, right, box[0], box[2])
            y = _normalised(top, bottom, box[1], box[3])
            grid = torch.stack(torch.meshgrid(x, y, indexing="xy"), -1)[None].to(phi)
            sampled = F.grid_sample(
                level_set[None, None], grid, padding_mode="border", align_corners=False
            )
            mask[top:bottom, left:right] = sampled[0, 0] > 0
    return masks


def _normalised(first: int, end: int, low: Tensor, high: Tensor) -> Tensor:
    """Centres of pixels first..end-1 in coordinates that run from -1 to 1 over [low, high]."""
    centres = torch.arange(first, end, device=low.device) + 0.5
    return (centres - low) / (high - low) * 2 - 1
