"""Initial level sets, with values in [-1, 1] like the later states."""

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
        fixed: True: one map for each size, the same at every call. False: each level set is drawn
            from the device's generator.
    """
    if not fixed:
        return torch.empty(count, *size, dtype=like.dtype, device=like.device).uniform_(-1, 1)
    generator = torch.Generator().manual_seed(size[0] << 20 | size[1])
    noise = torch.rand(size, generator=generator, dtype=torch.float64) * 2 - 1
    return noise.to(like).expand(count, *size)


def disc_level_sets(count: int, size: tuple[int, int], like: Tensor, discs: int) -> Tensor:
    """A grid of ``discs`` x ``discs`` discs, (count, H, W): 1 at centres, -1 at cells' corners.

    The cells fill the image, so the discs are ellipses in an image that is not square.
    """
    rows, columns = (
        (torch.arange(side, dtype=torch.float64) + 0.5) / side * discs % 1 - 0.5 for side in size
    )
    phi = 1 - torch.hypot(rows[:, None], columns) * math.sqrt(8)
    return phi.to(like).expand(count, *size)
