"""One step of the recurrent level set, with matrices over a whole grid or with convolutions."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from mmlevelset.models.crls.data_term import ConvDataTerm, GridDataTerm

NOISE = 0.1
"""Of a matrix's initial weights beside its multiple of the identity, times 1 / sqrt(fan-in)."""
CONV_NOISE = 0.5
"""The same of convolutions, whose further channels have nothing else to begin with."""

MakeMap = Callable[..., nn.Module]


class GridMap(nn.Linear):
    """Dense matrices over the pixels of a grid: (M, 1, H, W) to (M, len(identity), H, W).

    Args:
        size: Height and width.
        identity: For each matrix the multiple of the identity that it starts from.
        bias: Whether each has a bias for every pixel.
    """

    def __init__(
        self, size: tuple[int, int], identity: Sequence[float], bias: bool = False
    ) -> None:
        self.size, self.identity = size, tuple(identity)
        super().__init__(math.prod(size), len(identity) * math.prod(size), bias)

    def reset_parameters(self) -> None:
        nn.init.normal_(self.weight, std=NOISE / math.sqrt(self.in_features))
        with torch.no_grad():
            matrices = self.weight.split(self.in_features)
            for scale, matrix in zip(self.identity, matrices, strict=True):
                matrix.diagonal().add_(scale)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.flatten(1)).unflatten(1, (len(self.identity), *self.size))


class ConvMap(nn.Conv2d):
    """3 x 3 convolutions: (M, channels, H, W) to (M, len(identity) * out_channels, H, W).

    Args:
        channels: Of the input.
        out_channels: Of each convolution.
        identity: For each convolution the multiple of the identity that it starts from.
        bias: Whether each has a bias for every channel.
    """

    def __init__(
        self, channels: int, out_channels: int, identity: Sequence[float], bias: bool = False
    ) -> None:
        self.identity = tuple(identity)
        super().__init__(channels, len(identity) * out_channels, 3, padding=1, bias=bias)

    def reset_parameters(self) -> None:
        nn.init.normal_(self.weight, std=CONV_NOISE / math.sqrt(9 * self.in_channels))
        with torch.no_grad():
            kernels = self.weight.chunk(len(self.identity))
            for scale, kernel in zip(self.identity, kernels, strict=True):
                kernel[:, :, 1, 1].diagonal().add_(scale)
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
        make: Makes a map of ``make(identity, bias=False)`` from and to K channels.
        data_term: Makes the data term, from ``data_term()``.
    """

    def __init__(self, make: MakeMap, data_term: Callable[[], nn.Module]) -> None:
        super().__init__()
        self.data_term = data_term()
        self.input_maps = make((0, 0, 1), bias=True)  # U and b of z, r and h
        self.state_maps = make((0, 0))  # W of z and r
        self.reset_map = make((1,))  # W of h

    def forward(self, state: Tensor, x: Tensor) -> Tensor:
        """The next state, from state and input (M, K, H, W)."""
        z, r, h = self.input_maps(x).chunk(3, 1)
        state_z, state_r = self.state_maps(state).chunk(2, 1)
        z, r = torch.sigmoid(z + state_z), torch.sigmoid(r + state_r)
        h = torch.tanh(h + self.reset_map(state * r))
        return torch.lerp(h, state, z)


def dense_cell(size: tuple[int, int], reduction: str) -> RecurrentCell:
    """The paper's cell: all its matrices are (H W) x (H W)."""

    def make(identity: Sequence[float], bias: bool = False) -> GridMap:
        return GridMap(size, identity, bias)

    return RecurrentCell(make, lambda: GridDataTerm(make((1,)), make((1,)), reduction))


def conv_cell(hidden_channels: int, in_channels: int, reduction: str) -> RecurrentCell:
    """The cell with convolutions, for images of any size."""

    def make(identity: Sequence[float], bias: bool = False) -> ConvMap:
        return ConvMap(hidden_channels, hidden_channels, identity, bias)

    def data_term() -> ConvDataTerm:
        channels = in_channels if reduction == "none" else 1
        inside, outside = (ConvMap(channels, hidden_channels, (1,)) for _ in range(2))
        return ConvDataTerm(inside, outside, reduction)

    return RecurrentCell(make, data_term)
