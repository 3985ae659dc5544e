"""Settings of a semantic network's inference: whole image, sliding window, several scales."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction

from torch import Tensor

LARGEST_DENOMINATOR = 20


@dataclass(frozen=True)
class Inference:
    """``test_cfg`` of :class:`SemanticSegmentor`.

    Attributes:
        mode: ``whole`` or ``slide``.
        crop_size: Height and width of the window in pixels of the network's input.
        stride: Steps of the window down and to the right in pixels, at most ``crop_size``.

    Raises:
        ValueError: A value is out of its range.
    """

    mode: str = "whole"
    crop_size: Sequence[int] | None = None
    stride: Sequence[int] | None = None

    def __post_init__(self) -> None:
        if self.mode not in ("whole", "slide"):
            raise ValueError(f"test_cfg.mode must be 'whole' or 'slide', but is {self.mode!r}")
        if self.mode == "whole":
            return
        for name in ("crop_size", "stride"):
            if not _is_size(value := getattr(self, name)):
                raise ValueError(
                    f"test_cfg.{name} must be a height and a width in pixels, but is {value!r}"
                )
        for step, side in zip(self.stride or (), self.crop_size or (), strict=True):
            if step > side:
                raise ValueError(
                    f"test_cfg.stride must be at most crop_size {tuple(self.crop_size or ())} (a"
                    f" larger stride skips pixels), but is {tuple(self.stride or ())}"
                )

    def run(self, network: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
        """Return the logits (B, K, H, W) of images (B, C, H, W).

        Where windows overlap, the logits are their mean.

        Args:
            network: Function that returns logits (B, K, h, w) of images (B, C, h, w).
            images: Images of any size. A window larger than the images is cut to their size.
        """
        if self.mode == "whole" or self.crop_size is None or self.stride is None:
            return network(images)
        total, count = None, images.new_zeros(images.shape[2:])
        for rows in _windows(images.shape[2], self.crop_size[0], self.stride[0]):
            for columns in _windows(images.shape[3], self.crop_size[1], self.stride[1]):
                logits = network(images[:, :, rows, columns])
                if total is None:
                    total = logits.new_zeros(*logits.shape[:2], *images.shape[2:])
                total[:, :, rows, columns] += logits
                count[rows, columns] += 1
        assert total is not None
        return total / count


@dataclass(frozen=True)
class MultiScale:
    """``multi_scale`` of :class:`SemanticSegmentor`.

    Attributes:
        scales: Scales of the image; 1 must be one of them. Each is a fraction with a denominator of
            at most 20, so that images exist whose scaled sizes are whole.
        supervise_scales: Whether each scale's logits have a loss, beside the maximum's loss.

    Raises:
        ValueError: A value is out of its range.
    """

    scales: Sequence[float] = (0.5, 0.75, 1.0)
    supervise_scales: bool = True

    def __post_init__(self) -> None:
        if 1 not in self.scales or min(self.scales) <= 0:
            raise ValueError(
                f"multi_scale.scales must be positive numbers that include 1, but is"
                f" {self.scales!r}"
            )
        if any(abs(_fraction(scale) - scale) > 1e-6 for scale in self.scales):
            raise ValueError(
                f"multi_scale.scales must be fractions with denominators of at most"
                f" {LARGEST_DENOMINATOR}, such as 0.75, but is {self.scales!r}"
            )

    @property
    def denominator(self) -> int:
        """The smallest number of pixels whose product with each scale is whole."""
        return math.lcm(*(_fraction(scale).denominator for scale in self.scales))


def _fraction(scale: float) -> Fraction:
    return Fraction(scale).limit_denominator(LARGEST_DENOMINATOR)


def _windows(length: int, window: int, stride: int) -> list[slice]:
    """Return the windows that cover ``length`` pixels; the last window ends at ``length``."""
    window = min(window, length)
    starts = [*range(0, length - window, stride), length - window]
    return [slice(start, start + window) for start in starts]


def _is_size(value: object) -> bool:
    return (
        isinstance(value, Sequence)
        and len(value) == 2
        and all(isinstance(side, int) and side > 0 for side in value)
    )
