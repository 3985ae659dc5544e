"""VGG for detection: the convolutions alone, with four poolings."""

from mmcv.cnn import VGG
from mmengine.model import BaseModule
from torch import Tensor

from mmlevelset.registry import MODELS


@MODELS.register_module()
class CRLSVGG(VGG, BaseModule):
    """VGG's convolutions, 13 in VGG-16, with four poolings: one map of 512 channels and stride 16.

    Layers are named ``features.N`` as in torchvision, so that its checkpoints of VGG load.

    Args:
        depth: 11, 13, 16 or 19.
        frozen_stages: Number of stages, from the first on, that do not learn.
        with_bn: Batch norm after each convolution, as in torchvision's ``vgg16_bn``; its
            statistics do not change in training.
        init_cfg: Default: Kaiming. ``dict(type="mmlevelset.Pretrained", checkpoint=...)`` loads
            ImageNet weights.

    Raises:
        ValueError: An argument is out of its range.
    """

    def __init__(
        self,
        depth: int = 16,
        frozen_stages: int = 0,
        with_bn: bool = False,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        if depth not in VGG.arch_settings:
            raise ValueError(f"depth must be one of {sorted(VGG.arch_settings)}, but is {depth!r}")
        if frozen_stages not in range(6):
            raise ValueError(f"frozen_stages must be a number from 0 to 5, but is {frozen_stages}")
        super().__init__(
            depth,
            with_bn=with_bn,
            out_indices=(4,),
            frozen_stages=frozen_stages,
            with_last_pool=False,
        )
        self.init_cfg = init_cfg or [
            dict(type="Kaiming", layer="Conv2d"),
            dict(type="Constant", val=1, layer="_BatchNorm"),
        ]
        self.train()  # freezes before an optimizer or DDP reads the parameters

    def init_weights(self, pretrained: None = None) -> None:
        """Set the initial weights by ``init_cfg``."""
        BaseModule.init_weights(self)

    def forward(self, x: Tensor) -> tuple[Tensor]:
        """Return features (B, 512, H // 16, W // 16) of images (B, 3, H, W)."""
        return (super().forward(x),)
