import torch
import torch.nn as nn
from torch import Tensor

from mmlevelset.ops import heaviside
from mmlevelset.registry import MODELS


@MODELS.register_module()
class TSDFLoss(nn.Module):
    r"""Loss of a level set against a mask and its truncated signed distance.

    :math:`\|\phi - \phi_{GT}\|_1 + BCE(H_\varepsilon(\phi), M_{GT})` with the arctan Heaviside
    function (LevelSet R-CNN, section 4.2), both averaged over pixels and regions.

    Args:
        eps: Width of the Heaviside function, in units of phi. Default 0.1, the paper's.
        l1_weight: Weight of the distance term.
        bce_weight: Weight of the mask term.
    """

    def __init__(self, eps: float = 0.1, l1_weight: float = 1.0, bce_weight: float = 1.0) -> None:
        super().__init__()
        if not eps > 0:
            raise ValueError(f"eps must be positive, but is {eps}")
        self.eps = eps
        self.l1_weight = l1_weight
        self.bce_weight = bce_weight

    def forward(self, phi: Tensor, tsdf: Tensor, mask: Tensor) -> Tensor:
        """Mean loss over regions, a scalar; 0 with zero gradients if there are none.

        Args:
            phi: Level sets (M, H, W), float32.
            tsdf: Truncated signed distances (M, H, W) in [-1, 1], positive inside.
            mask: Inside (M, H, W), bool.
        """
        if phi.numel() == 0:
            return phi.sum()
        l1 = (phi - tsdf).abs().mean()
        # H(-z) = 1 - H(z), which would round to zero for large z and give an infinite logarithm.
        bce = -heaviside(torch.where(mask, phi, -phi), self.eps).log().mean()
        return self.l1_weight * l1 + self.bce_weight * bce

    def extra_repr(self) -> str:
        return f"eps={self.eps}, l1_weight={self.l1_weight}, bce_weight={self.bce_weight}"
