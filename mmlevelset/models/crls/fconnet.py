from collections.abc import Sequence

from mmengine.model import BaseModule
from torch import Tensor, nn

from mmlevelset.models.common import check_positive_integers
from mmlevelset.models.recurrent.recurrent_level_set import check_size
from mmlevelset.models.recurrent.result import Segmentation, segmentation_loss
from mmlevelset.ops.checks import check_floating, check_shape
from mmlevelset.registry import MODELS


@MODELS.register_module()
class FConNet(BaseModule):
    """F-ConNet, the baseline of RLS: two fully connected layers with a ReLU between them.

    Le et al., Recurrent Level Set Networks, 2019, section 6.2.

    Args:
        size: Height and width of the images.
        in_channels: Channels of the images.
        hidden: Units between the layers; None: the number of pixels, as in the paper.

    Raises:
        ValueError: An argument is out of its range.
    """

    def __init__(
        self,
        size: Sequence[int],
        in_channels: int = 3,
        hidden: int | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.size = height, width = check_size(size)
        pixels = height * width
        hidden = pixels if hidden is None else hidden
        check_positive_integers(in_channels=in_channels, hidden=hidden)
        self.in_channels = in_channels
        self.layers = nn.Sequential(
            nn.Linear(in_channels * pixels, hidden), nn.ReLU(), nn.Linear(hidden, 2 * pixels)
        )

    def forward(self, image: Tensor) -> Segmentation:
        """Return logits (M, 2, H, W) of images (M, C, H, W), and an empty trajectory."""
        check_shape("image", image, ("M", self.in_channels, *self.size))
        check_floating(image=image)
        logits = self.layers(image.flatten(1)).unflatten(1, (2, *self.size))
        return Segmentation(logits, logits.new_zeros(0, len(image), *self.size))

    def loss(self, result: Segmentation, target: Tensor, ignore_index: int = 255) -> Tensor:
        """Return the cross-entropy, a scalar; see :func:`segmentation_loss`."""
        return segmentation_loss(result.logits, target, ignore_index)
