"""BoxInst's loss of pairs of pixels with like colours."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmlevelset.models.common import check_not_negative
from mmlevelset.registry import MODELS


@MODELS.register_module()
class BoxPairwiseLoss(nn.Module):
    r"""Neighbours of like colours belong to the same side of a mask (BoxInst, Tian et al. 2021).

    An edge goes from a pixel of the box to one of its neighbours in the image, ``dilation`` pixels
    away; the edge between two pixels of the box counts twice. The colours of its pixels are alike
    if :math:`\exp(-\lVert c_i - c_j \rVert / 2)` is at least ``threshold``; c is L*a*b*. The loss
    of such an edge is :math:`-\log(p_i p_j + (1 - p_i)(1 - p_j))`.

    Args:
        loss_weight: Weight of the loss; 1 in the paper.
        kernel_size: Side of the square of neighbours, odd; 3: eight neighbours.
        dilation: Distance of the neighbours in pixels of the mask, at least 1.
        threshold: Least similarity of an edge, in (0, 1].
        warmup_iters: The weight grows evenly from 0 during these first iterations.
            :class:`BoxSupervision` does it.

    Raises:
        ValueError: An argument is out of its range.
    """

    def __init__(
        self,
        loss_weight: float = 1.0,
        kernel_size: int = 3,
        dilation: int = 2,
        threshold: float = 0.3,
        warmup_iters: int = 10000,
    ) -> None:
        super().__init__()
        if not isinstance(kernel_size, int) or kernel_size < 3 or kernel_size % 2 == 0:
            raise ValueError(
                f"kernel_size must be an odd whole number of at least 3, but is {kernel_size!r}"
            )
        if not isinstance(dilation, int) or dilation < 1:
            raise ValueError(f"dilation must be a whole number of at least 1, but is {dilation!r}")
        if not 0 < threshold <= 1:
            raise ValueError(f"threshold must be in (0, 1], but is {threshold!r}")
        check_not_negative(loss_weight=loss_weight, warmup_iters=warmup_iters)
        self.loss_weight = loss_weight
        self.kernel_size = kernel_size
        self.dilation = dilation
        self.threshold = threshold
        self.warmup_iters = warmup_iters

    def forward(self, logits: Tensor, boxes: Tensor, lab: Tensor) -> tuple[Tensor, Tensor]:
        """Return the losses (K,), each summed over the edges, and the numbers of edges (K,).

        The sum of the losses of a batch, divided by its edges, is the loss.

        Args:
            logits: Masks (K, H, W).
            boxes: Masks (K, H, W) of the boxes.
            lab: L*, a*, b* (3, H', W') of the image without padding, H' <= H and W' <= W.
        """
        height, width = lab.shape[1:]
        logits = logits[:, :height, :width]
        inside = boxes[:, :height, :width].to(logits)
        # -log(p_i p_j + (1 - p_i)(1 - p_j)) = s(x_i) + s(x_j) - s(x_i + x_j), s the softplus.
        alone = -F.logsigmoid(-logits)
        losses, edges = logits.new_zeros(len(logits)), logits.new_zeros(len(logits))
        reach = self.kernel_size // 2
        for down in range(reach + 1):
            for right in range(-reach, reach + 1):
                if (down, right) <= (0, 0):
                    continue  # the edge of the opposite direction
                first, second = _ends(down * self.dilation, right * self.dilation, height, width)
                with torch.no_grad():
                    distance = (lab[first] - lab[second]).norm(dim=0)
                    alike = torch.exp(-distance / 2) >= self.threshold
                    count = (inside[first] + inside[second]) * alike
                    edges += count.sum((1, 2))
                together = F.logsigmoid(-(logits[first] + logits[second]))
                loss = alone[first] + alone[second] + together
                losses = losses + (loss * count).sum((1, 2))
        return self.loss_weight * losses, edges


def _ends(down: int, right: int, height: int, width: int) -> tuple[tuple, tuple]:
    """Places of all pixels with a neighbour ``down`` and ``right``, and of these neighbours."""
    rows, count = max(height - down, 0), max(width - abs(right), 0)
    first, second = max(-right, 0), max(right, 0)
    return (
        (..., slice(0, rows), slice(first, first + count)),
        (..., slice(down, down + rows), slice(second, second + count)),
    )
