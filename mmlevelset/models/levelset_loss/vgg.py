"""DeepLab's VGG with features of stride 8."""

from mmcv.cnn import VGG, build_norm_layer
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmlevelset.registry import MODELS

FROM_SCRATCH = [
    dict(type="Kaiming", layer="Conv2d"),
    dict(type="Constant", val=1, layer=["_BatchNorm", "GroupNorm"]),
]


@MODELS.register_module()
class DeepLabVGG(BaseModule):
    """VGG for dense prediction: stride 8 instead of 32.

    All five poolings are 3x3 with padding 1. The last two poolings have stride 1, and the
    convolutions between them have dilation 2. A 3x3 average pooling of stride 1 follows the last
    pooling, as in the authors' network file of DeepLab-LargeFOV. Layers have torchvision's names
    ``features.N``, so that torchvision's weights of VGG (``norm_cfg=None``) and of VGG with batch
    norm load.

    Args:
        depth: 11, 13, 16 or 19.
        base_channels: Channels of the first stage, 64 in VGG. The five stages have 1, 2, 4, 8 and
            8 times as many channels.
        norm_cfg: Normalisation after each convolution; None for none.
        in_channels: Channels of the image.
        average_pool: Whether the average pooling is there. It has no weights.
        init_cfg: Default: Kaiming. ``dict(type="mmlevelset.Pretrained", checkpoint=...)`` loads
            ImageNet weights.

    Raises:
        ValueError: An argument is out of its range.

    Reference:
        Chen et al., ICLR 2015.
    """

    def __init__(
        self,
        depth: int = 16,
        base_channels: int = 64,
        norm_cfg: dict | None = None,
        in_channels: int = 3,
        average_pool: bool = True,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(FROM_SCRATCH if init_cfg is None else init_cfg)
        if depth not in VGG.arch_settings:
            raise ValueError(f"depth must be one of {sorted(VGG.arch_settings)}, but is {depth!r}")
        for name, value in (("base_channels", base_channels), ("in_channels", in_channels)):
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"{name} must be a whole number of at least 1, but is {value!r}")
        self.features = nn.Sequential()
        self._stage_ends = set()
        for stage, count in enumerate(VGG.arch_settings[depth]):
            channels, dilation = base_channels * min(2**stage, 8), 2 if stage == 4 else 1
            for _ in range(count):
                self.features.append(
                    nn.Conv2d(in_channels, channels, 3, padding=dilation, dilation=dilation)
                )
                if norm_cfg is not None:
                    self.features.append(build_norm_layer(norm_cfg, channels)[1])
                self.features.append(nn.ReLU(inplace=True))
                in_channels = channels
            self._stage_ends.add(len(self.features))
            self.features.append(nn.MaxPool2d(3, stride=2 if stage < 3 else 1, padding=1))
        self.average_pool = nn.AvgPool2d(3, stride=1, padding=1) if average_pool else nn.Identity()

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return the features of the five stages, after their pooling, of images (B, C, H, W).

        The strides are 2, 4, 8, 8 and 8. A map of stride s has size (ceil(H / s), ceil(W / s)).
        """
        stages = []
        for index, layer in enumerate(self.features):
            x = layer(x)
            if index in self._stage_ends:
                stages.append(x)
        stages[-1] = self.average_pool(stages[-1])
        return tuple(stages)
