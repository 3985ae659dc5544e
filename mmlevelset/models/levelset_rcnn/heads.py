"""The two heads that LevelSet R-CNN adds to the mask head: hyperparameters and features."""

import math
from itertools import pairwise
from typing import Any, ClassVar, NamedTuple

import torch
import torch.nn as nn
import torch.nn.functional as F
from mmcv.cnn import ConvModule
from mmengine.model import BaseModule, kaiming_init
from torch import Tensor

from mmlevelset.registry import MODELS

MINIMUM_EPS = 1e-2


class Hyperparameters(NamedTuple):
    """The evolution's settings of M regions: lambda1, lambda2, mu (M,) and eps, dt (M, N)."""

    lambda1: Tensor
    lambda2: Tensor
    mu: Tensor
    eps: Tensor
    dt: Tensor


class _Predicted:
    """The map from outputs to settings; heads of another evolution replace its parts."""

    RANGES: ClassVar[dict[str, tuple[float, float]]] = dict(
        lambda1=(0.0, 2.0),
        lambda2=(0.0, 2.0),
        mu=(0.0, 2.0),
        eps=(MINIMUM_EPS, 2.0),
        dt=(0.0, 2.0),
    )
    """Lowest and highest value of each setting."""

    HARMLESS_AT_ZERO: ClassVar[tuple[str, ...]] = ("mu",)
    """Settings of which 0 is a good value: their term is then off."""

    fixed: dict[str, float]

    def check_fixed(self, fixed: dict[str, float | None] | None) -> dict[str, float]:
        """Return the fixed settings, or raise ValueError for an unknown name or a bad value."""
        given = {name: value for name, value in (fixed or {}).items() if value is not None}
        for name, value in given.items():
            if name not in self.RANGES:
                raise ValueError(f"fixed must name {', '.join(self.RANGES)}, but names {name!r}")
            low = self.RANGES[name][0]
            if not isinstance(value, int | float) or not low <= value < math.inf:
                raise ValueError(f"fixed.{name} must be at least {low:g}, but is {value!r}")
        if len(given) == len(self.RANGES):
            raise ValueError("fixed must leave at least one setting to be learned")
        return given

    @property
    def learned_ranges(self) -> dict[str, tuple[float, float]]:
        """Lowest and highest value of each setting that is learned.

        The lowest value of a setting that may be 0 is minus infinity.
        """
        return {
            name: (-math.inf if name in self.HARMLESS_AT_ZERO else low, high)
            for name, (low, high) in self.RANGES.items()
            if name not in self.fixed
        }

    @staticmethod
    def initial_logits(num_steps: int) -> Tensor:
        """Return the outputs that give each setting the middle of its range."""
        return torch.zeros(3 + 2 * num_steps)

    @staticmethod
    def split(values: Tensor) -> Any:
        """Return the settings from one tensor (M, 3 + 2N)."""
        lambda1, lambda2, mu = values[:, :3].unbind(1)
        eps, dt = values[:, 3:].chunk(2, 1)
        return Hyperparameters(lambda1, lambda2, mu, eps, dt)

    def settings(self, logits: Tensor) -> tuple[Tensor, ...]:
        """Return the settings of M regions from the outputs (M, 3 + 2N)."""
        shares = self.split(logits.float().sigmoid())
        values = {}
        for name, share in shares._asdict().items():
            low, high = self.RANGES[name]
            values[name] = low + (high - low) * share
            if name in self.fixed:
                values[name] = torch.full_like(share, self.fixed[name])
        return type(shares)(**values)


@MODELS.register_module()
class HyperparameterHead(_Predicted, BaseModule):
    """Predicts each region's lambda1, lambda2, mu, eps_1..N and dt_1..N (LevelSet R-CNN, 4.1).

    Its layers are convolutions, average pooling, two fully connected layers and a sigmoid, whose
    range is (0, 2), and (0.01, 2) for eps. All settings start near 1.

    Args:
        num_steps: N, steps of the evolution.
        in_channels: Channels of the RoI features.
        num_convs: Number of 3x3 convolutions before the pooling.
        conv_channels: Channels of the convolutions.
        fc_channels: Width of the first fully connected layer.
        norm_cfg: Normalisation of the convolutions; default none.
        fixed: Settings that are not learned, by name, e.g. ``dict(mu=0.0)``; None: learned.

    Raises:
        ValueError: ``fixed`` has an unknown name or a bad value, or leaves nothing to learn.
    """

    def __init__(
        self,
        num_steps: int = 3,
        in_channels: int = 256,
        num_convs: int = 4,
        conv_channels: int = 256,
        fc_channels: int = 256,
        norm_cfg: dict | None = None,
        fixed: dict[str, float | None] | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.num_steps = num_steps
        self.fixed = self.check_fixed(fixed)
        self.convs = conv_stack(in_channels, conv_channels, num_convs, norm_cfg)
        self.fc = nn.Linear(conv_channels if num_convs else in_channels, fc_channels)
        self.output = nn.Linear(fc_channels, len(self.initial_logits(num_steps)))

    def init_weights(self) -> None:
        super().init_weights()
        nn.init.kaiming_uniform_(self.fc.weight, nonlinearity="relu")
        nn.init.zeros_(self.fc.bias)
        nn.init.normal_(self.output.weight, std=0.01)
        with torch.no_grad():
            self.output.bias.copy_(self.initial_logits(self.num_steps))

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return the :class:`Hyperparameters` of RoI features (M, in_channels, h, w)."""
        x = self.convs(x).mean((2, 3))
        return self.settings(self.output(F.relu(self.fc(x))))


@MODELS.register_module()
class GlobalHyperparameters(_Predicted, BaseModule):
    """One learned set of hyperparameters for all regions: the paper's ablation of the head.

    It takes the arguments of :class:`HyperparameterHead`, so that a config changes only the type;
    all but ``num_steps`` and ``fixed`` are ignored.
    """

    def __init__(
        self,
        num_steps: int = 3,
        in_channels: int = 256,
        num_convs: int = 4,
        conv_channels: int = 256,
        fc_channels: int = 256,
        norm_cfg: dict | None = None,
        fixed: dict[str, float | None] | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.num_steps = num_steps
        self.fixed = self.check_fixed(fixed)
        self.logits = nn.Parameter(self.initial_logits(num_steps))

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return the same :class:`Hyperparameters` for each of M regions ``x`` (M, C, h, w)."""
        return self.settings(self.logits.expand(x.shape[0], -1))


@MODELS.register_module()
class ChanVeseFeatureHead(BaseModule):
    """Embeds each RoI's pixels: pixels of one object lie together (LevelSet R-CNN, 4.1).

    Convolutions on the RoI features are followed by upsamplings by two, each with a 3x3
    convolution. The last convolution has no activation.

    Args:
        in_channels: Channels of the RoI features.
        num_convs: Number of 3x3 convolutions before the upsampling.
        conv_channels: Channels of these convolutions.
        upsample_channels: Channels after each upsampling; the last is C, the number of features.
        norm_cfg: Normalisation of all convolutions but the last; default none.
    """

    def __init__(
        self,
        in_channels: int = 256,
        num_convs: int = 4,
        conv_channels: int = 256,
        upsample_channels: tuple[int, ...] = (128, 64, 64),
        norm_cfg: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.out_channels = upsample_channels[-1]
        self.convs = conv_stack(in_channels, conv_channels, num_convs, norm_cfg)
        widths = [conv_channels if num_convs else in_channels, *upsample_channels]
        self.upsamples = nn.ModuleList(
            ConvModule(before, after, 3, padding=1, norm_cfg=norm_cfg)
            for before, after in pairwise(widths[:-1])
        )
        self.output = nn.Conv2d(widths[-2], widths[-1], 3, padding=1)

    def init_weights(self) -> None:
        super().init_weights()
        kaiming_init(self.output, mode="fan_in", nonlinearity="linear")

    def forward(self, x: Tensor, size: int) -> Tensor:
        """Return pixel features (M, C, size, size) of RoI features (M, in_channels, h, w)."""
        x = self.convs(x)
        for conv in self.upsamples:
            x = conv(F.interpolate(x, scale_factor=2, mode="bilinear"))
        return self.output(F.interpolate(x, size=(size, size), mode="bilinear"))


def conv_stack(in_channels: int, channels: int, count: int, norm_cfg: dict | None) -> nn.Sequential:
    """Return ``count`` 3x3 convolutions with ReLU."""
    return nn.Sequential(
        *(
            ConvModule(channels if i else in_channels, channels, 3, padding=1, norm_cfg=norm_cfg)
            for i in range(count)
        )
    )
