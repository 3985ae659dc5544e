"""The features of the evolution, from several sources of comparable size."""

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

MINIMUM_VARIANCE = 1e-8


class FeatureSources(BaseModule):
    """Joins feature maps, and weighs each so that the data term has a size of order one.

    Each source, e.g. the pixels of the image, is divided by its standard deviation over the region
    and its channels. So neither the scale of the features, nor their number of channels, nor the
    reduction changes the strength of the evolution. Their mean does not matter to an evolution.

    Args:
        names: Names of the sources.
        scale: Weight of the squared distances, for all sources together, in multiples of the
            variance. It is learned, for each source, between 0 and 4 times this value. None: 1, not
            learned.
        standardize: Divide by the standard deviation. Off: the features are taken as they are.
        reduction: As in :func:`mmlevelset.ops.evolve_chan_vese`.
    """

    RANGE = 4.0
    """Largest weight, in multiples of the weight at the start."""

    def __init__(
        self,
        names: tuple[str, ...],
        scale: float | None = 1.0,
        standardize: bool = True,
        reduction: str = "mean",
    ) -> None:
        super().__init__()
        if scale is not None and not scale > 0:
            raise ValueError(f"data_scale must be positive, but is {scale}")
        self.names = names
        self.scale = scale
        self.standardize = standardize
        self.reduction = reduction
        self.logits: nn.Parameter | None = None
        if scale is not None:
            self.logits = nn.Parameter(torch.full((len(names),), 1 / self.RANGE).logit())

    @property
    def learned_ranges(self) -> dict[str, tuple[float, float]]:
        """Lowest and highest weight of each source; empty if the weights are not learned."""
        if self.scale is None:
            return {}
        return {f"data_scale_{name}": (0.0, self.scale * self.RANGE) for name in self.names}

    def weights(self) -> Tensor:
        """Weight of each source, (S,)."""
        if self.logits is None or self.scale is None:
            return torch.ones(len(self.names))
        return self.scale * self.RANGE * self.logits.sigmoid()

    def forward(self, maps: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Join the maps of M regions.

        Args:
            maps: For each source (M, C_s, H, W).

        Returns:
            The features (M, C, H, W), and a factor (M,) on lambda1 and lambda2.
        """
        channels = sum(each.shape[1] for each in maps)
        gains = []
        for each, weight in zip(maps, self.weights(), strict=True):
            gain = weight.to(each.device).expand(each.shape[0])
            if self.standardize and each.shape[0]:  # torch warns of the variance of nothing
                variance = _variance(each).sum(1)
                share = len(maps) if self.reduction == "sum" else len(maps) / channels
                gain = gain / (share * variance + MINIMUM_VARIANCE)
            gains.append(gain)
        if len(maps) == 1:  # no copy of the features
            return maps[0], gains[0]
        scaled = [
            # In float32: the gradient of the gain, a sum over pixels, overflows in half precision.
            (each * gain.sqrt()[:, None, None, None]).to(each.dtype)
            for each, gain in zip(maps, gains, strict=True)
        ]
        return torch.cat(scaled, 1), torch.ones_like(gains[0])

    def log(self, count: int) -> dict[str, Tensor]:
        """The learned weights, by name, for each of ``count`` regions."""
        if self.logits is None:
            return {}
        weights = self.weights().detach().expand(count, -1).unbind(1)
        return dict(zip(self.learned_ranges, weights, strict=True))


def _variance(maps: Tensor) -> Tensor:
    """Variance (M, C) of maps (M, C, H, W) over their pixels, float32 or float64."""
    if maps.element_size() >= 4:
        return maps.var((2, 3), correction=0)
    # Squares overflow in half precision. A copy in float32 would be the largest tensor here.
    norm = torch.linalg.vector_norm(maps, dim=(2, 3), dtype=torch.float32)
    mean = maps.mean((2, 3), dtype=torch.float32)
    return (norm.square() / maps[0, 0].numel() - mean.square()).clamp(min=0)
