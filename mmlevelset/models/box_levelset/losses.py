"""Losses of masks against boxes."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmlevelset.registry import MODELS


@MODELS.register_module()
class BoxProjectionLoss(nn.Module):
    r"""Dice loss of the projections of a mask and its box (Tian et al. 2021; BoxLevelSet eq. 9).

    The loss is :math:`\sum_{x, y} 1 - 2 \sum p q / (\sum p^2 + \sum q^2)`; p and q are the maxima
    of the mask and the box along an axis.

    Args:
        loss_weight: alpha of BoxLevelSet eq. 11.
    """

    def __init__(self, loss_weight: float = 3.0) -> None:
        super().__init__()
        self.loss_weight = loss_weight

    def forward(self, scores: Tensor, boxes: Tensor) -> Tensor:
        """Losses (K,) of mask scores (K, H, W) in [0, 1] with box masks (K, H, W)."""
        boxes = boxes.to(scores)
        across, along = (_dice(scores.amax(axis), boxes.amax(axis)) for axis in (1, 2))
        return self.loss_weight * (across + along)


def _dice(first: Tensor, second: Tensor) -> Tensor:
    overlap = (first * second).sum(1)
    return 1 - 2 * overlap / (first.square().sum(1) + second.square().sum(1) + 1e-5)


@MODELS.register_module()
class LocalConsistencyLoss(nn.Module):
    """Box2Mask's local consistency (Li et al. 2022): masks agree with their neighbours' average.

    The loss is the mean difference, inside the box, between a mask and its average. The average is
    taken ``num_iterations`` times over the eight neighbours ``dilation`` pixels away. The weights
    are a softmax of minus the mean absolute difference of colours, relative to its spread over the
    eight. The averaged masks are targets: no gradient flows through them.

    Args:
        loss_weight: Weight of the loss.
        num_iterations: Number of averages, at least 1.
        dilation: Distance of the neighbours in pixels, at least 1.
        sharpness: Factor on the relative differences: larger follows edges more closely.
    """

    def __init__(
        self,
        loss_weight: float = 1.0,
        num_iterations: int = 10,
        dilation: int = 2,
        sharpness: float = 10 / 3,
    ) -> None:
        super().__init__()
        for name, value in (("num_iterations", num_iterations), ("dilation", dilation)):
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"{name} must be a whole number of at least 1, but is {value!r}")
        self.loss_weight = loss_weight
        self.num_iterations = num_iterations
        self.dilation = dilation
        self.sharpness = sharpness

    def forward(self, scores: Tensor, boxes: Tensor, image: Tensor) -> Tensor:
        """Losses (K,) of mask scores (K, H, W) with box masks (K, H, W) on an image (C, H, W)."""
        if len(scores) == 0:
            return scores.sum((1, 2))
        with torch.no_grad():
            weights = self._weights(image.to(scores))
            target = scores
            for _ in range(self.num_iterations):
                target = (self._neighbours(target) * weights).sum(1)
        boxes = boxes.to(scores)
        apart = (boxes * (scores - target).abs()).sum((1, 2))
        return self.loss_weight * apart / boxes.sum((1, 2)).clamp(min=1)

    def _weights(self, image: Tensor) -> Tensor:
        """Weights (8, H, W) of the neighbours; they sum to 1."""
        difference = (self._neighbours(image) - image[:, None]).abs()
        spread = difference.std(1, keepdim=True) + 1e-6
        return (-self.sharpness * difference / spread).mean(0).softmax(0)

    def _neighbours(self, maps: Tensor) -> Tensor:
        """Neighbours (N, 8, H, W) of the pixels (N, H, W); the border is repeated outwards."""
        reach, (height, width) = self.dilation, maps.shape[1:]
        padded = F.pad(maps[:, None], [reach] * 4, mode="replicate")[:, 0]
        starts = [
            (row, column) for row in range(3) for column in range(3) if (row, column) != (1, 1)
        ]
        return torch.stack(
            [
                padded[:, row * reach : row * reach + height, column * reach :][:, :, :width]
                for row, column in starts
            ],
            1,
        )
