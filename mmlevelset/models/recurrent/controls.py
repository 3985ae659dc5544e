"""Plain convolutions in place of the recurrent level set of a refinement, for comparison."""

from itertools import pairwise

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmlevelset.models.recurrent.result import Segmentation
from mmlevelset.ops import heaviside, region_means


class ConvolutionalControl(BaseModule):
    """Convolutions of 3 x 3, each but the last with a ReLU, without recurrence.

    The input is I and phi_0. With ``region_term`` it is also (I - c1)^2 and (I - c2)^2, where c1
    and c2 are the means of I inside and outside of phi_0.

    Args:
        in_channels: C, channels of I.
        hidden_channels: Channels between the layers.
        num_hidden: Number of layers before the last.
        region_term: Whether the squared differences to the means are in the input.
        eps: Width of the Heaviside function of phi_0.
    """

    def __init__(
        self,
        in_channels: int,
        hidden_channels: int,
        num_hidden: int,
        region_term: bool,
        eps: float,
    ) -> None:
        super().__init__()
        self.region_term, self.eps = region_term, eps
        inputs = 1 + in_channels * (3 if region_term else 1)
        widths = [inputs] + [hidden_channels] * num_hidden
        self.hidden = nn.ModuleList(
            nn.Conv2d(before, after, 3, padding=1) for before, after in pairwise(widths)
        )
        self.output = nn.Conv2d(hidden_channels, 2, 3, padding=1)

    def forward(self, image: Tensor, initial: Tensor) -> Segmentation:
        """Return logits (M, 2, H, W), without a trajectory, of I (M, C, H, W) and phi_0 (M, H, W).

        All computations have the parameters' dtype, under autocast too.
        """
        with torch.autocast(image.device.type, enabled=False):
            image = image.to(self.output.weight.dtype)
            initial = initial.to(image)
            inputs = [image, initial[:, None]]
            if self.region_term:
                means = region_means(image, heaviside(initial, self.eps))
                inputs += [(image - mean[..., None, None]).square() for mean in means]
            maps = torch.cat(inputs, 1)
            for layer in self.hidden:
                maps = layer(maps).relu()
            return Segmentation(self.output(maps), initial.new_zeros(0, *initial.shape))
