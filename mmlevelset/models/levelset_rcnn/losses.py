import torch
import torch.nn as nn
import torch.nn.functional as F
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


@MODELS.register_module()
class TSDFSquareLoss(nn.Module):
    r"""DELSE's loss of the initial level set: :math:`\|\phi - \phi_{GT}\|_2^2`, a mean."""

    def forward(self, phi: Tensor, tsdf: Tensor, mask: Tensor) -> Tensor:
        """Return a scalar, 0 if there are no regions; arguments as for :class:`TSDFLoss`."""
        return F.mse_loss(phi, tsdf) if phi.numel() else phi.sum()


@MODELS.register_module()
class BalancedMaskLoss(nn.Module):
    r"""DELSE's loss of the final level set: the class-balanced cross-entropy of its mask.

    :math:`-w M \log H_\varepsilon(\phi) - (1 - w)(1 - M) \log(1 - H_\varepsilon(\phi))` with the
    arctan Heaviside function; w is the share of the region's pixels that lie outside. So the sums
    of the weights of inside and outside are equal. The loss is a mean over pixels and regions.

    Args:
        eps: Width of the Heaviside function, in units of phi.
    """

    def __init__(self, eps: float = 0.1) -> None:
        super().__init__()
        if not eps > 0:
            raise ValueError(f"eps must be positive, but is {eps}")
        self.eps = eps

    def forward(self, phi: Tensor, tsdf: Tensor, mask: Tensor) -> Tensor:
        """Return a scalar, 0 if there are no regions; arguments as for :class:`TSDFLoss`."""
        if phi.numel() == 0:
            return phi.sum()
        share = mask.to(phi).mean((1, 2), keepdim=True)
        weight = torch.where(mask, 1 - share, share)
        return -(weight * heaviside(torch.where(mask, phi, -phi), self.eps).log()).mean()

    def extra_repr(self) -> str:
        return f"eps={self.eps}"


@MODELS.register_module()
class AngularLoss(nn.Module):
    """DELSE's loss of the velocity: the squared angle to the true direction, in radians."""

    def forward(self, velocity: Tensor, direction: Tensor) -> Tensor:
        """Return the mean over the pixels with a direction; 0 if there are none.

        Args:
            velocity: Unit vectors (M, 2, H, W).
            direction: True unit vectors (M, 2, H, W), 0 at pixels without a direction.
        """
        dot = (velocity * direction).sum(1)
        cross = velocity[:, 0] * direction[:, 1] - velocity[:, 1] * direction[:, 0]
        known = direction.any(1)
        # Unlike the arccos of the product, atan2 has a gradient at all angles, but not at (0, 0).
        # So pixels without a direction take atan2(0, 1).
        angle = torch.atan2(cross, torch.where(known, dot, 1.0))
        return angle.square().sum() / known.sum().clamp(min=1)
