from collections.abc import Sequence
from typing import Any

from mmdet.registry import MODELS as MMDET_MODELS
from torch import Tensor, nn

from mmlevelset.registry import MODELS


@MODELS.register_module()
class LossSum(nn.Module):
    """The sum of several losses, for heads that take a single loss, such as mmdet's semantic heads.

    Args:
        losses: Configs of one or more losses, each with its own weight. All losses are called with
            the same arguments. A type without a scope is mmdet's.

    Raises:
        ValueError: ``losses`` is not a list of at least one config.

    Example:
        In a config, ``loss_seg`` of :class:`mmlevelset.PanopticFPNHead` or of
        ``FusedSemanticHead``::

            loss_seg=dict(
                type="mmlevelset.LossSum",
                losses=[
                    dict(type="CrossEntropyLoss", ignore_index=255, loss_weight=0.2),
                    dict(type="mmlevelset.LevelSetLoss"),
                ],
            )
    """

    def __init__(self, losses: Sequence[dict]) -> None:
        super().__init__()
        if isinstance(losses, dict) or not losses:
            raise ValueError(f"losses must be a list of at least one config, but is {losses!r}")
        self.losses = nn.ModuleList(MMDET_MODELS.build(loss) for loss in losses)

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        """Return the sum of the losses, each called with these arguments."""
        return sum(loss(*args, **kwargs) for loss in self.losses)
