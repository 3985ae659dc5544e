"""The data term of the input: -U_g (I - c1)^2 + W_g (I - c2)^2."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

Force = Callable[[Tensor, Tensor], Tensor]
"""A function from the means c1 and c2, each (M, C), to the data term (M, K, H, W)."""


class ConvDataTerm(nn.Module):
    """The data term by convolutions of the squared differences.

    Args:
        convolution: -U_g and W_g: from two inputs of one channel each, or of C channels each with
            ``reduction="none"``, to K channels.
        reduction: How squares are reduced over the channels of I: ``sum``, ``mean`` or ``none``.
    """

    def __init__(self, convolution: nn.Module, reduction: str) -> None:
        super().__init__()
        self.convolution, self.reduction = convolution, reduction

    def forward(self, image: Tensor) -> Force:
        """Return the data term in images (M, C, H, W), as a function of c1 and c2."""

        def force(first: Tensor, second: Tensor) -> Tensor:
            squares = [self._squares(image, means) for means in (first, second)]
            return self.convolution(torch.cat(squares, 1))

        return force

    def _squares(self, image: Tensor, means: Tensor) -> Tensor:
        squares = (image - means[..., None, None]).square()
        if self.reduction == "none":
            return squares
        total = squares.sum(1, keepdim=True)
        return total / image.shape[1] if self.reduction == "mean" else total


class GridDataTerm(nn.Module):
    """The data term by matrices over the whole grid. The matrices are read once for all steps.

    (I - c)^2 = I^2 - 2 c I + c^2, so the steps need only the matrices' products with I^2, I and 1.
    Reading a matrix of 4096 x 4096 takes longer than multiplying a few vectors by it.

    Args:
        matrices: -U_g and W_g, from one input to two outputs.
        reduction: How squares are reduced over the channels of I: ``sum`` or ``mean``.
    """

    def __init__(self, matrices: nn.Module, reduction: str) -> None:
        super().__init__()
        self.matrices, self.reduction = matrices, reduction

    def forward(self, image: Tensor) -> Force:
        """Return the data term in images (M, C, H, W), as a function of c1 and c2."""
        count, channels, *size = image.shape
        centre = image.mean((2, 3))  # large means would cancel in the expanded square
        image = image - centre[..., None, None]
        maps = torch.cat([image.square().sum(1, keepdim=True), image], 1)
        rows = torch.cat([maps.flatten(0, 1), image.new_ones(1, *size)])[:, None]
        shape = (count, channels + 1, *size)
        products = [
            (product[:-1].view(shape), product[-1]) for product in self.matrices(rows).unbind(1)
        ]
        scale = 1 / channels if self.reduction == "mean" else 1

        def force(first: Tensor, second: Tensor) -> Tensor:
            terms = []
            for (of_image, of_one), means in zip(products, (first, second), strict=True):
                means = means - centre
                linear = torch.einsum("mc,mchw->mhw", means, of_image[:, 1:])
                constant = means.square().sum(1)[:, None, None] * of_one
                terms.append(of_image[:, 0] - 2 * linear + constant)
            return scale * (terms[0] + terms[1])[:, None]

        return force
