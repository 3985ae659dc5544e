"""Initial level sets, with values in [-1, 1] as the states that follow have them."""

import math

import torch
from torch import Tensor

KINDS = ("random", "discs")


def random_level_sets(count: int, size: tuple[int, int], like: Tensor, fixed: bool) -> Tensor:
    """Uniform noise in [-1, 1], (count, H, W), of the dtype and on the device of ``like``.

    Args:
        count: Number of level sets.
        size: Height and width.
        like: Any tensor.
        fixed: One map for each size, the same at every call; else drawn from torch's generator
            of the device, anew for each level set.
    """
    if not fixed:
        return torch.empty(count, *size, dtype=like.dtype, device=like.device).uniform_(-1, 1)
    generator = torch.Generator().manual_seed(size[0] << 20 | size[1])
    noise = torch.rand(size, generator=generator, dtype=torch.float64) * 2 - 1
    return noise.to(like).expand(count, *size)


def disc_level_sets(count: int, size: tuple[int, int], like: Tensor, discs: int) -> Tensor:
    """A grid of ``discs`` x ``discs`` discs, (count, H, W): 1 at centres, -1 at cells' corners.

    Cells are as wide and high as the image allows, so discs are ellipses where it is no square.
    """
    rows, columns = (
        (torch.arange(side, dtype=torch.float64) + 0.5) / side * discs % 1 - 0.5 for side in size
    )
    phi = 1 - torch.hypot(rows[:, None], columns) * math.sqrt(8)
    return phi.to(like).expand(count, *size)
