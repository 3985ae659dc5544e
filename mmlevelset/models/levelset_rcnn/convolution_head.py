import torch
from mmdet.utils import ConfigType
from torch import Tensor, nn

from mmlevelset.models.levelset_rcnn.log import movement_log
from mmlevelset.models.levelset_rcnn.mask_head import LevelSetMaskHead
from mmlevelset.registry import MODELS


@MODELS.register_module()
class ConvolutionMaskHead(LevelSetMaskHead):
    """The mask head of LevelSet R-CNN with a convolution in the evolution's place: a control.

    phi_1 is phi_0 plus a 1x1 convolution of the same features; the convolution starts at 0. So the
    head shows what the features give without an evolution. The arguments are those of
    :class:`LevelSetMaskHead`; ``num_steps`` must be 1, and the arguments of the evolution have no
    meaning.

    Raises:
        ValueError: ``num_steps`` is not 1.
    """

    def build_evolution(self, hyperparameter_head: ConfigType) -> None:
        if self.num_steps != 1:
            raise ValueError(f"num_steps must be 1, but is {self.num_steps}")
        channels = dict(
            head=getattr(self.feature_head, "out_channels", 0),
            fine=getattr(self.fine_projection, "out_channels", 0),
            image=self.image_channels,
        )
        self.sources.reduction = "mean"  # features of unit variance
        self.step = nn.Conv2d(sum(channels[name] for name in self.sources.names), 1, 1)

    def init_weights(self) -> None:
        super().init_weights()
        for parameter in self.step.parameters():
            nn.init.zeros_(parameter)

    def evolve(
        self, start: Tensor, x: Tensor, features: Tensor, gain: Tensor
    ) -> tuple[Tensor, dict[str, Tensor] | None]:
        change = self.step(features * gain.sqrt().to(features.dtype)[:, None, None, None])
        level_sets = torch.stack([start, start + change[:, 0].float()], 1)
        return level_sets, movement_log(level_sets.detach()) if self.training else None
