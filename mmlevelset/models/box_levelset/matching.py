"""Costs of matching predicted masks with boxes."""

from typing import Any

import torch
from mmengine.structures import InstanceData
from torch import Tensor

from mmlevelset.registry import TASK_UTILS


@TASK_UTILS.register_module()
class BoxProjectionCost:
    r"""Box2Mask's cost of a mask for a box: the dice loss of their projections.

    The cost is :math:`\sum_{x, y} 1 - (2 \sum p q + \epsilon) / (\sum p^2 + \sum q^2 + \epsilon)`;
    p and q are the maxima of the mask and the box along an axis.

    Args:
        weight: Weight of the cost; 5 in Box2Mask.
        eps: Smooths the quotient; 1 in Box2Mask.
    """

    def __init__(self, weight: float = 5.0, eps: float = 1.0) -> None:
        self.weight = weight
        self.eps = eps

    def __call__(
        self,
        pred_instances: InstanceData,
        gt_instances: InstanceData,
        img_meta: dict | None = None,
        **kwargs: Any,
    ) -> Tensor:
        """Return the costs (Q, G), float32, also under autocast.

        Args:
            pred_instances: ``masks``, logits (Q, H, W).
            gt_instances: ``masks`` of the boxes (G, H, W).
            img_meta: Not used.
            **kwargs: Not used.
        """
        scores = pred_instances.masks.float().sigmoid()
        boxes = gt_instances.masks.float()
        cost = scores.new_zeros(len(scores), len(boxes))
        with torch.autocast(scores.device.type, enabled=False):
            for axis in (1, 2):
                p, q = scores.amax(axis), boxes.amax(axis)
                squares = p.square().sum(1)[:, None] + q.square().sum(1)
                cost = cost + 1 - (2 * p @ q.T + self.eps) / (squares + self.eps)
        return self.weight * cost
