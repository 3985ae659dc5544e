import torch
import torch.nn as nn
from mmdet.utils import OptConfigType
from torch import Tensor

from mmlevelset.models.common import check_choice
from mmlevelset.ops import contour_length, heaviside, region_energy
from mmlevelset.registry import MODELS

KINDS = ("arctan", "tanh", "sigmoid")


@MODELS.register_module()
class MaskLevelSetLoss(nn.Module):
    r"""Chan-Vese energy as a loss of Mask R-CNN's masks (LevelSet R-CNN, Table 3, "LS Loss").

    The mask's probability, shifted by -0.5, is the level set phi. As in Hu et al. (CVPR 2017), the
    loss is the energy of the true mask G, not of the image,
    :math:`E = \sum H(\phi) (G - c_1)^2 + (1 - H(\phi)) (G - c_2)^2`, with the means of G inside and
    outside. The energy is least where H separates G's two values. An inverted mask would have the
    same energy, so the cross-entropy of the mask is added.

    The loss replaces ``loss_mask`` in mmdet's ``FCNMaskHead`` and in heads derived from it.

    Args:
        loss_weight: Weight of the energy, which is divided by the number of pixels and averaged
            over RoIs.
        length_weight: mu of the Chan-Vese energy: weight of the length of H's contour in pixels.
            Default 0: the true mask already says where the contour is.
        eps: Width of the Heaviside function, in units of probability. Default 0.1, as in the
            paper's other losses.
        kind: See :func:`mmlevelset.ops.heaviside`; ``step`` has no gradient and is refused.
        loss_cross_entropy: Config of a mask loss that is added; None: the energy alone.

    Raises:
        ValueError: A weight is negative or ``eps`` is not positive.
    """

    def __init__(
        self,
        loss_weight: float = 1.0,
        length_weight: float = 0.0,
        eps: float = 0.1,
        kind: str = "arctan",
        loss_cross_entropy: OptConfigType = dict(type="mmdet.CrossEntropyLoss", use_mask=True),
    ) -> None:
        super().__init__()
        for name, weight in (("loss_weight", loss_weight), ("length_weight", length_weight)):
            if not weight >= 0:
                raise ValueError(f"{name} must not be negative, but is {weight}")
        if not eps > 0:
            raise ValueError(f"eps must be positive, but is {eps}")
        check_choice("kind", kind, KINDS)
        self.loss_weight = loss_weight
        self.length_weight = length_weight
        self.eps = eps
        self.kind = kind
        self.loss_cross_entropy = None
        if loss_cross_entropy is not None:
            self.loss_cross_entropy = MODELS.build(loss_cross_entropy)

    def forward(self, pred: Tensor, target: Tensor, label: Tensor) -> Tensor:
        """The loss, a scalar: 0 with zero gradients if there are no RoIs.

        Args:
            pred: Logits of all classes (M, K, H, W).
            target: True masks (M, H, W), 0 or 1.
            label: Class of each RoI (M,), for the channel of the logits.
        """
        if len(pred) == 0:
            return pred.sum()
        logits = pred[torch.arange(len(pred), device=pred.device), label].float()
        inside = heaviside(logits.sigmoid() - 0.5, self.eps, self.kind)
        energy = region_energy(target[:, None].float(), inside)
        if self.length_weight:
            energy = energy + self.length_weight * contour_length(inside)
        loss = self.loss_weight * energy.mean() / target[0].numel()
        if self.loss_cross_entropy is not None:
            loss = loss + self.loss_cross_entropy(pred, target, label).sum()
        return loss

    def extra_repr(self) -> str:
        names = ("loss_weight", "length_weight", "eps", "kind")
        return ", ".join(f"{name}={getattr(self, name)!r}" for name in names)
