from collections.abc import Sequence
from typing import Any

from mmdet.registry import MODELS as MMDET_MODELS
from torch import Tensor, nn

from mmlevelset.registry import MODELS


@MODELS.register_module()
class LossSum(nn.Module):
    """Several losses where a head takes one, as mmdet's semantic heads do.

    Args:
        losses: Configs of at least one loss, each with its weight, called with the same arguments.
            Types without a scope are mmdet's.

    Raises:
        ValueError: There is no loss.

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
        """The sum of the losses of these arguments."""
        return sum(loss(*args, **kwargs) for loss in self.losses)
