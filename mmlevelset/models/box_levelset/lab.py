"""Images in CIE L*a*b*, where distances of colours are close to the distances that people see."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

LEAST_SPREAD = 1.0
"""Least divisor of a channel of L*a*b*: a smaller difference of colours is not seen."""

# CIE XYZ of the primaries of sRGB (IEC 61966-2-1), and its white point D65.
_XYZ = (
    (0.4124564, 0.3575761, 0.1804375),
    (0.2126729, 0.7151522, 0.0721750),
    (0.0193339, 0.1191920, 0.9503041),
)
_WHITE = (0.95047, 1.0, 1.08883)


def rgb_to_lab(image: Tensor) -> Tensor:
    """Return L*, a*, b* (3, H, W) of an sRGB image (3, H, W) in [0, 255].

    L* lies in [0, 100], a* and b* in about [-110, 110]. Values out of range are clipped.
    """
    rgb = image.clamp(0, 255) / 255
    linear = torch.where(rgb > 0.04045, ((rgb + 0.055) / 1.055) ** 2.4, rgb / 12.92)
    xyz = torch.einsum("ij,jhw->ihw", image.new_tensor(_XYZ), linear)
    ratio = xyz / image.new_tensor(_WHITE)[:, None, None]
    x, y, z = torch.where(ratio > (6 / 29) ** 3, ratio ** (1 / 3), ratio * 841 / 108 + 4 / 29)
    return torch.stack((116 * y - 16, 500 * (x - y), 200 * (y - z)))


class LabImage(nn.Module):
    """L*a*b* of normalised images; each channel has mean 0 and deviation 1 over the image.

    A channel that varies by less than ``LEAST_SPREAD`` is not stretched to deviation 1, so that
    grey images have no colours made of rounding errors.

    Args:
        mean: Mean of each channel in [0, 255] that was subtracted.
        std: The divisor of each channel.
        bgr: The channels of the images are B, G, R; otherwise R, G, B.

    Raises:
        ValueError: The mean or the divisor is missing, or is not three numbers.
    """

    def __init__(
        self, mean: Sequence[float] | None, std: Sequence[float] | None, bgr: bool = False
    ) -> None:
        super().__init__()
        self.bgr = bgr
        for name, values in (("image_mean", mean), ("image_std", std)):
            if values is None or len(values) != 3:
                raise ValueError(
                    f"{name} must be three numbers for a loss of L*a*b*, but is {values!r}"
                )
            channels = torch.tensor(values, dtype=torch.float32)[:, None, None]
            self.register_buffer(name, channels, persistent=False)
        self.image_mean: Tensor
        self.image_std: Tensor

    def forward(self, image: Tensor, height: int, width: int) -> Tensor:
        """Return the standardised colours (3, H, W) of a normalised image (3, H, W).

        Args:
            image: The image, perhaps with padding on the right and at the bottom.
            height: Rows without padding; they alone give the mean and the deviation.
            width: Columns without padding.
        """
        lab = self.colours(image)
        spread, mean = torch.std_mean(lab[:, :height, :width], (1, 2), correction=0, keepdim=True)
        return (lab - mean) / spread.clamp(min=LEAST_SPREAD)

    def colours(self, image: Tensor) -> Tensor:
        """Return L*, a*, b* (3, H, W) of a normalised image (3, H, W)."""
        image = image * self.image_std + self.image_mean
        return rgb_to_lab(image.flip(0) if self.bgr else image)
