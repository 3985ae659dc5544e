"""One step of the recurrent level set, with matrices over a whole grid or with convolutions."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mmlevelset.models.recurrent.data_term import ConvDataTerm, GridDataTerm

NOISE = 0.1
"""Deviation of a matrix's initial weights from a multiple of the identity, times sqrt(fan-in)."""
CONV_NOISE = 0.5
"""The same for convolutions. Channels without an identity start from this noise alone."""

Scales = Sequence[Sequence[float]]
"""Initial multiples of the identity: a row for each output, a column for each input."""


class GridMap(nn.Linear):
    """Dense matrices over the pixels of a grid: (M, inputs, H, W) to (M, outputs, H, W).

    Args:
        size: Height and width.
        identity: :data:`Scales`, outputs x inputs; each pair has its own matrix.
        bias: Whether each output has a bias for every pixel.
    """

    def __init__(self, size: tuple[int, int], identity: Scales, bias: bool = False) -> None:
        self.size, self.identity = size, identity
        pixels = math.prod(size)
        super().__init__(len(identity[0]) * pixels, len(identity) * pixels, bias)

    def reset_parameters(self) -> None:
        pixels = math.prod(self.size)
        nn.init.normal_(self.weight, std=NOISE / math.sqrt(pixels))
        with torch.no_grad():
            for rows, scales in zip(self.weight.split(pixels), self.identity, strict=True):
                for matrix, scale in zip(rows.split(pixels, 1), scales, strict=True):
                    matrix.diagonal().add_(scale)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.flatten(1)).unflatten(1, (len(self.identity), *self.size))


class ConvMap(nn.Conv2d):
    """3 x 3 convolutions: (M, inputs * channels, H, W) to (M, outputs * out_channels, H, W).

    Args:
        channels: Channels of each input.
        out_channels: Channels of each output.
        identity: :data:`Scales`, outputs x inputs.
        bias: Whether each channel of the outputs has a bias.
    """

    def __init__(
        self, channels: int, out_channels: int, identity: Scales, bias: bool = False
    ) -> None:
        self.fan_in, self.identity = 9 * channels, identity
        inputs, outputs = len(identity[0]), len(identity)
        super().__init__(inputs * channels, outputs * out_channels, 3, padding=1, bias=bias)

    def reset_parameters(self) -> None:
        nn.init.normal_(self.weight, std=CONV_NOISE / math.sqrt(self.fan_in))
        with torch.no_grad():
            centres = self.weight[:, :, 1, 1].chunk(len(self.identity))
            for rows, scales in zip(centres, self.identity, strict=True):
                for matrix, scale in zip(rows.chunk(len(scales), 1), scales, strict=True):
                    matrix.diagonal().add_(scale)
        if self.bias is not None:
            nn.init.zeros_(self.bias)


class RecurrentCell(nn.Module):
    r"""The gated recurrent unit that moves the state, of K channels, by one step.

    With the input :math:`x_t = \kappa(\phi_{t-1}) - U_g (I - c_1)^2 + W_g (I - c_2)^2`:
    :math:`z = \sigma(U_z x + W_z \phi + b_z)`, :math:`r = \sigma(U_r x + W_r \phi + b_r)`,
    :math:`h = \tanh(U_h x + W_h (\phi * r) + b_h)`, and the next state is
    :math:`z * \phi + (1 - z) * h`.

    U_g, W_g, U_h and W_h start near the identity, the force of Chan and Vese, and the gates near
    one half (our choice; the paper does not say).

    Args:
        gates: U, W and b of z and r: from x and the state to z and r, before the sigmoid.
        candidate: U_h, W_h and b_h: from x and state * r to h, before the tanh.
        data_term: The data term with U_g and W_g.
    """

    def __init__(self, gates: nn.Module, candidate: nn.Module, data_term: nn.Module) -> None:
        super().__init__()
        self.gates, self.candidate, self.data_term = gates, candidate, data_term

    def forward(self, state: Tensor, x: Tensor) -> Tensor:
        """Return the next state from state and input (M, K, H, W)."""
        z, r = torch.sigmoid(self.gates(torch.cat([x, state], 1))).chunk(2, 1)
        h = torch.tanh(self.candidate(torch.cat([x, state * r], 1)))
        return torch.lerp(h, state, z)


GATES: Scales = ((0, 0), (0, 0))
CANDIDATE: Scales = ((1, 1),)


def dense_cell(size: tuple[int, int], reduction: str) -> RecurrentCell:
    """Return the paper's cell: all matrices are (H W) x (H W)."""
    return RecurrentCell(
        GridMap(size, GATES, bias=True),
        GridMap(size, CANDIDATE, bias=True),
        GridDataTerm(GridMap(size, ((-1,), (1,))), reduction),
    )


def conv_cell(hidden_channels: int, in_channels: int, reduction: str) -> RecurrentCell:
    """Return the cell with convolutions, for images of any size."""
    channels = in_channels if reduction == "none" else 1
    return RecurrentCell(
        ConvMap(hidden_channels, hidden_channels, GATES, bias=True),
        ConvMap(hidden_channels, hidden_channels, CANDIDATE, bias=True),
        ConvDataTerm(ConvMap(channels, hidden_channels, ((-1, 1),)), reduction),
    )
