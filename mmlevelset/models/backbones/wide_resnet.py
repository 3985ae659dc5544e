"""WideResNet-38 for detection, a wide residual network of pre-activated blocks."""

import torch.nn as nn
from mmcv.cnn import build_activation_layer, build_conv_layer, build_norm_layer
from mmengine.model import BaseModule
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from mmlevelset.models.backbones.recompute import recompute
from mmlevelset.registry import MODELS

# Output channels of a block's convolutions in mod2 to mod7, as multiples of mod1's channels.
WIDTHS = ((2, 2), (4, 4), (8, 8), (8, 16), (8, 16, 32), (16, 32, 64))
NUM_MODULES = 1 + len(WIDTHS)


@MODELS.register_module()
class WideResNet38(BaseModule):
    """WideResNet-38: "Model A" of Wu, Shen, van den Hengel (Wider or Deeper, 2016).

    ``mod1`` is a 3x3 convolution. ``mod2`` to ``mod7`` are modules of pre-activated residual
    blocks. A 3x3 max pooling of stride 2 precedes each of ``mod2`` to ``mod6``. A block has two 3x3
    convolutions; in ``mod6`` and ``mod7`` it is a bottleneck of 1x1, 3x3 and 1x1 convolutions:

    ====== ====== ========================= ======
    module blocks channels                  stride
    ====== ====== ========================= ======
    mod1           64                       1
    mod2   3       128, 128                 2
    mod3   3       256, 256                 4
    mod4   6       512, 512                 8
    mod5   3       512, 1024                16
    mod6   1       512, 1024, 2048          32
    mod7   1       1024, 2048, 4096         32
    ====== ====== ========================= ======

    The network has 105.1 million parameters; with ImageNet's classifier, it would have 109.2
    million.

    The default outputs are the outputs of mod3, mod4, mod5 and mod7: 256, 512, 1024 and 4096
    channels at strides 4, 8, 16 and 32. The output of mod7 has passed the network's last norm and
    activation (``bn_out``). The other outputs are the residual sums that the next module reads.

    The reference code saves memory by in-place activated batch norm (Rota Bulò et al., CVPR 2018).
    Here it is a plain norm and a leaky ReLU, and ``with_cp`` saves memory. There is no dropout.
    Parameters have the names of the reference code (``mod2.block1.convs.conv1.weight``,
    ``bn_out.weight``). The in-place norm scales by ``|weight| + eps``, the plain norm by
    ``weight``.

    Args:
        structure: Number of blocks in each of mod2 to mod7.
        base_channels: Channels of mod1; all other channels are multiples of it.
        in_channels: Channels of the image.
        out_indices: Modules whose outputs are returned, 0 for mod1 to 6 for mod7, ascending.
            Modules after the last of these are not built.
        dcn: Config of a deformable convolution (``DCN`` or ``DCNv2``) that replaces the second
            convolution of each block. mmcv's ``DCN`` needs maps of at least 3x3: at stride 32,
            images of more than 64 pixels a side.
        stage_with_dcn: For each of mod2 to mod7, whether ``dcn`` is used in its blocks.
        frozen_stages: Number of modules, from mod1 on, that do not learn.
        norm_cfg: Normalisation.
        act_cfg: Activation after each norm.
        norm_eval: Whether batch norm keeps its statistics in training. Use it only with pretrained
            weights.
        with_cp: Whether to save memory: only a block's input is kept for the backward pass, and the
            block is computed again.
        init_cfg: Default: Kaiming. ``dict(type="mmlevelset.Pretrained", checkpoint=...)`` loads
            weights. Offsets of deformable convolutions that the checkpoint lacks start at zero.

    Raises:
        ValueError: An argument is out of its range.
    """

    def __init__(
        self,
        structure: tuple[int, ...] = (3, 3, 6, 3, 1, 1),
        base_channels: int = 64,
        in_channels: int = 3,
        out_indices: tuple[int, ...] = (2, 3, 4, 6),
        dcn: dict | None = None,
        stage_with_dcn: tuple[bool, ...] = (False, False, True, True, True, True),
        frozen_stages: int = 0,
        norm_cfg: dict = dict(type="BN", requires_grad=True),
        act_cfg: dict = dict(type="LeakyReLU", negative_slope=0.01, inplace=True),
        norm_eval: bool = False,
        with_cp: bool = False,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        if len(structure) != len(WIDTHS) or min(structure) < 1:
            raise ValueError(
                f"structure must be {len(WIDTHS)} positive numbers of blocks, but is {structure}"
            )
        if base_channels < 1:
            raise ValueError(f"base_channels must be positive, but is {base_channels}")
        if not out_indices or list(out_indices) != sorted({*out_indices} & {*range(NUM_MODULES)}):
            raise ValueError(
                f"out_indices must be ascending numbers from 0 to {NUM_MODULES - 1}, but is"
                f" {out_indices}"
            )
        if len(stage_with_dcn) != len(WIDTHS):
            raise ValueError(
                f"stage_with_dcn must have {len(WIDTHS)} values, one for each of mod2 to mod7, but"
                f" is {stage_with_dcn}"
            )
        if frozen_stages not in range(NUM_MODULES + 1):
            raise ValueError(
                f"frozen_stages must be a number from 0 to {NUM_MODULES}, but is {frozen_stages}"
            )
        super().__init__(
            init_cfg
            or [
                dict(type="Kaiming", layer="Conv2d"),
                dict(type="Constant", val=1, layer=["_BatchNorm", "GroupNorm"]),
            ]
        )
        self.from_scratch = init_cfg is None
        self.out_indices = tuple(out_indices)
        self.frozen_stages = frozen_stages
        self.norm_eval = norm_eval
        self.num_modules = 1 + max(out_indices)

        self.mod1 = nn.Sequential()
        self.mod1.add_module(
            "conv1", build_conv_layer(None, in_channels, base_channels, 3, padding=1, bias=False)
        )
        self.pool = nn.MaxPool2d(3, stride=2, padding=1)
        channels = base_channels
        for index in range(1, self.num_modules):
            widths = tuple(base_channels * width for width in WIDTHS[index - 1])
            module = nn.Sequential()
            for block in range(structure[index - 1]):
                module.add_module(
                    f"block{block + 1}",
                    PreActivatedBlock(
                        channels,
                        widths,
                        dcn=dcn if stage_with_dcn[index - 1] else None,
                        norm_cfg=norm_cfg,
                        act_cfg=act_cfg,
                        with_cp=with_cp,
                    ),
                )
                channels = widths[-1]
            self.add_module(f"mod{index + 1}", module)
        self.ends = self.num_modules == NUM_MODULES
        if self.ends:
            self.bn_out = build_norm_layer(norm_cfg, channels)[1]
            self.act_out = build_activation_layer(act_cfg)
        self.train()  # freezes parameters before an optimizer or DDP collects them

    def init_weights(self) -> None:
        """Initialise the weights as ``init_cfg`` says."""
        super().init_weights()
        if self.from_scratch:
            for module in self.modules():
                if hasattr(module, "init_offset"):
                    module.init_offset()  # Kaiming initialisation would give random offsets

    def train(self, mode: bool = True) -> "WideResNet38":
        """Set training mode; frozen modules stay in evaluation mode."""
        super().train(mode)
        for index in range(min(self.frozen_stages, self.num_modules)):
            self.get_submodule(f"mod{index + 1}").eval().requires_grad_(False)
        if mode and self.norm_eval:
            for module in self.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return the features of images (B, in_channels, H, W).

        Returns:
            A map (B, C, ceil(H / s), ceil(W / s)) for each of ``out_indices``, s its stride.
        """
        outputs = []
        for index in range(self.num_modules):
            if 0 < index < NUM_MODULES - 1:
                x = self.pool(x)
            x = self.get_submodule(f"mod{index + 1}")(x)
            if index in self.out_indices:
                outputs.append(x)
        if self.ends:
            outputs[-1] = self.act_out(self.bn_out(x))
        return tuple(outputs)


class PreActivatedBlock(BaseModule):
    """A residual block with norm and activation before each convolution (He et al., ECCV 2016).

    If the number of channels changes, the shortcut is a 1x1 convolution of the activated input.

    Args:
        in_channels: Channels of the input.
        widths: Output channels of the convolutions: two for 3x3, 3x3; three for 1x1, 3x3, 1x1.
        dcn: See :class:`WideResNet38`.
        norm_cfg: See :class:`WideResNet38`.
        act_cfg: See :class:`WideResNet38`.
        with_cp: See :class:`WideResNet38`.
    """

    def __init__(
        self,
        in_channels: int,
        widths: tuple[int, ...],
        dcn: dict | None,
        norm_cfg: dict,
        act_cfg: dict,
        with_cp: bool,
    ) -> None:
        super().__init__()
        self.with_cp = with_cp
        self.bn1 = build_norm_layer(norm_cfg, in_channels)[1]
        self.act1 = build_activation_layer(act_cfg)
        self.convs = nn.Sequential()
        kernels = (3, 3) if len(widths) == 2 else (1, 3, 1)
        channels = in_channels
        for number, (kernel, width) in enumerate(zip(kernels, widths, strict=True), start=1):
            if number > 1:
                self.convs.add_module(f"bn{number}", build_norm_layer(norm_cfg, channels)[1])
                self.convs.add_module(f"act{number}", build_activation_layer(act_cfg))
            self.convs.add_module(
                f"conv{number}",
                build_conv_layer(
                    dcn if number == 2 else None,
                    channels,
                    width,
                    kernel,
                    padding=kernel // 2,
                    bias=False,
                ),
            )
            channels = width
        self.proj_conv = None
        if in_channels != channels:
            self.proj_conv = build_conv_layer(None, in_channels, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output (B, widths[-1], H, W) for x (B, in_channels, H, W)."""
        if self.with_cp and x.requires_grad:
            return recompute(self, self._forward, x)
        return self._forward(x)

    def _forward(self, x: Tensor) -> Tensor:
        activated = self.act1(self.bn1(x))
        shortcut = x if self.proj_conv is None else self.proj_conv(activated)
        return shortcut + self.convs(activated)
