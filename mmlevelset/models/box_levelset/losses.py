"""Losses of masks against boxes."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmlevelset.models.common import check_not_negative
from mmlevelset.registry import MODELS


@MODELS.register_module()
class BoxProjectionLoss(nn.Module):
    r"""Dice loss of the projections of a mask and its box (Tian et al. 2021; BoxLevelSet eq. 9).

    The loss is :math:`\sum_{x, y} 1 - 2 \sum p q / (\sum p^2 + \sum q^2)`; p and q are the maxima
    of the mask and the box along an axis.

    Args:
        loss_weight: alpha of BoxLevelSet eq. 11, at least 0.

    Raises:
        ValueError: The weight is out of its range.
    """

    def __init__(self, loss_weight: float = 3.0) -> None:
        super().__init__()
        check_not_negative(loss_weight=loss_weight)
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
    r"""Box2Mask's local consistency (Li et al. 2022): masks agree with their neighbours' average.

    The loss is the absolute difference between a mask and its average, over the pixels of the box.
    The mask is averaged ``num_iterations`` times over the eight neighbours ``dilation`` pixels
    away; the border is repeated outwards. The weight of neighbour n is a softmax over the eight of
    :math:`-(|I_n - I| / (s + 10^{-8}) / \alpha)^2`, its mean over the channels of the image I; s is
    the standard deviation of the eight :math:`I_n`. Gradients flow through the averages too.

    Args:
        loss_weight: Weight of the loss; 0.2 in the authors' code.
        num_iterations: Number of averages, at least 1.
        dilation: Distance of the neighbours in pixels, at least 1.
        alpha: Scale of the relative differences: with a smaller scale, the averages follow edges
            more closely.
        size: Height and width of the maps that are averaged; the average is resized back. 96 x 96
            in Box2Mask-T. None: the masks' own size.

    Raises:
        ValueError: An argument is out of its range.
    """

    def __init__(
        self,
        loss_weight: float = 0.2,
        num_iterations: int = 10,
        dilation: int = 2,
        alpha: float = 0.3,
        size: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        check_not_negative(loss_weight=loss_weight)
        for name, value in (("num_iterations", num_iterations), ("dilation", dilation)):
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"{name} must be a whole number of at least 1, but is {value!r}")
        if not alpha > 0:
            raise ValueError(f"alpha must be positive, but is {alpha!r}")
        check_size("size", size)
        self.size = size
        self.loss_weight = loss_weight
        self.num_iterations = num_iterations
        self.dilation = dilation
        self.alpha = alpha

    def forward(self, scores: Tensor, boxes: Tensor, image: Tensor) -> Tensor:
        """Return the differences (K,), each summed over a box.

        Their sum over all boxes of a batch, divided by the pixels of these boxes, is the loss.

        Args:
            scores: Masks (K, H, W) in [0, 1].
            boxes: Masks (K, H, W) of the boxes.
            image: The image (C, H, W).
        """
        if len(scores) == 0:
            return scores.sum((1, 2))
        size = self.size or scores.shape[1:]
        with torch.no_grad():
            weights = self._weights(resize(image.to(scores), size))
        average = resize(scores, size)
        for _ in range(self.num_iterations):
            # Product by product, so that autograd keeps nothing but the weights.
            total = torch.zeros_like(average)
            for neighbour, weight in zip(self._neighbours(average), weights, strict=True):
                total = total + neighbour * weight
            average = total
        average = resize(average, scores.shape[1:])
        return self.loss_weight * (boxes.to(scores) * (scores - average).abs()).sum((1, 2))

    def _weights(self, image: Tensor) -> Tensor:
        """Weights (8, H, W) of the neighbours; they sum to 1."""
        neighbours = torch.stack(self._neighbours(image))
        difference = (neighbours - image).abs() / (neighbours.std(0) + 1e-8)
        return (-(difference / self.alpha).square().mean(1)).softmax(0)

    def _neighbours(self, maps: Tensor) -> list[Tensor]:
        """Maps (N, H, W) of each of the eight neighbours; the border is repeated outwards."""
        reach, (height, width) = self.dilation, maps.shape[1:]
        padded = F.pad(maps[:, None], [reach] * 4, mode="replicate")[:, 0]
        starts = [
            (row * reach, column * reach)
            for row in range(3)
            for column in range(3)
            if (row, column) != (1, 1)
        ]
        return [padded[:, row : row + height, column : column + width] for row, column in starts]


def resize(maps: Tensor, size: Sequence[int]) -> Tensor:
    """Return maps (C, H, W) or (K, C, H, W) at another size, by bilinear interpolation."""
    size = tuple(size)
    if maps.shape[-2:] == size:
        return maps
    batch = maps if maps.ndim == 4 else maps[None]
    found = F.interpolate(batch, size, mode="bilinear", align_corners=False)
    return found if maps.ndim == 4 else found[0]


def check_size(name: str, size: Sequence[int] | None) -> None:
    """Raise ValueError unless a size is None, or a height and a width of at least 2."""
    if size is None:
        return
    sides = size if isinstance(size, Sequence) else ()
    if len(sides) != 2 or not all(isinstance(side, int) and side >= 2 for side in sides):
        raise ValueError(f"{name} must be two whole numbers of at least 2, but is {size!r}")
