from collections.abc import Sequence
from typing import NamedTuple

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmlevelset.models.box_levelset.losses import check_size, resize
from mmlevelset.models.common import check_choice, check_not_negative
from mmlevelset.ops import contour_length, minimum_spanning_tree, region_energy, tree_filter
from mmlevelset.registry import MODELS


class Masks(NamedTuple):
    """K positive masks of one image at one resolution, with the maps of their energy.

    Attributes:
        scores: sigmoid(phi), (K, H, W) in [0, 1].
        domain: Where the energy is summed (K, H, W), bool: the boxes, or the image.
        image: The normalised image at this resolution (3, H, W).
        deep: The output of :meth:`BoxLevelSetLoss.deep_features` for this image (C, H', W') at the
            resolution of the mask features.
        lab: The image as L*a*b* (3, H, W); needed with ``image_space="lab"``.
    """

    scores: Tensor
    domain: Tensor
    image: Tensor
    deep: Tensor | None
    lab: Tensor | None = None


@MODELS.register_module()
class BoxLevelSetLoss(BaseModule):
    r"""Chan-Vese energy of masks inside their boxes (BoxLevelSet eqs. 3 and 8).

    The loss of a positive mask is :math:`\lambda_1 E(\phi, I_u) + \lambda_2 E(\phi, I_f)`. Both
    energies are divided by the number of channels and of the domain's pixels; the paper leaves this
    open. :math:`I_u` is the normalised image. :math:`I_f` depends on the mode:

    - ``released`` (the authors' code, the source of the published numbers): two channels. t1 is the
      mask filtered along the image's minimum spanning tree; t2 is t1 filtered along the tree of a
      convolution of the mask features.
    - ``paper``: a convolution of the mask features, filtered along the image's tree. These features
      can collapse to a constant, with energy 0; so they are detached and standardised by default.

    Args:
        in_channels: Channels of the mask features.
        mode: ``released`` or ``paper``.
        image_weight: lambda_1; 0 leaves the term out.
        image_space: Colours of :math:`I_u`: ``rgb``, the normalised image; or ``lab``, L*, a* and
            b*, each standardised over the image. The trees are those of the normalised image.
        feature_weight: lambda_2; 0 leaves the term out, with its trees and its convolution.
        length_weight: gamma, weight of the contour's length in each of the two energies. In
            ``released``, the box cuts out the mask and its complement, and their lengths are added.
            The published numbers are without the length; the authors' code has 1e-5, the paper
            1e-4.
        domain: Where the head sums the energy: ``box`` or ``image``.
        feature_channels: Channels of the convolution.
        second_filter: Use t2 beside t1 (``released``).
        tree_filter: Filter the deep features (``paper``).
        detach_features: Stop the gradients through the masks inside t1 and t2 (``released``) or
            through the deep features (``paper``). None: False in ``released``, True in ``paper``.
        standardize_features: Give each deep feature mean 0 and deviation 1 over the map
            (``paper``).
        sigma: Scale of the squared colour distances in the image's tree filter.
        filter_size: Height and width of the maps that the trees filter; the results are resized
            back. 96 x 96 in Box2Mask-T. None: the masks' own size.
        init_cfg: mmengine's.

    Raises:
        ValueError: An argument is out of its range.
    """

    def __init__(
        self,
        in_channels: int,
        mode: str = "released",
        image_weight: float = 0.05,
        image_space: str = "rgb",
        feature_weight: float = 5.0,
        length_weight: float = 0.0,
        domain: str = "box",
        feature_channels: int = 5,
        second_filter: bool = True,
        tree_filter: bool = True,
        detach_features: bool | None = None,
        standardize_features: bool = True,
        sigma: float = 0.02,
        filter_size: Sequence[int] | None = None,
        init_cfg: dict | Sequence[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        check_choice("mode", mode, ("released", "paper"))
        check_choice("domain", domain, ("box", "image"))
        check_choice("image_space", image_space, ("rgb", "lab"))
        check_not_negative(
            image_weight=image_weight, feature_weight=feature_weight, length_weight=length_weight
        )
        if not sigma > 0:
            raise ValueError(f"sigma must be positive, but is {sigma!r}")
        check_size("filter_size", filter_size)
        if not isinstance(feature_channels, int) or feature_channels < 1:
            raise ValueError(f"feature_channels must be at least 1, but is {feature_channels!r}")
        self.mode = mode
        self.image_weight = image_weight
        self.image_space = image_space
        self.feature_weight = feature_weight
        self.length_weight = length_weight
        self.domain = domain
        self.second_filter = second_filter
        self.tree_filter = tree_filter
        self.detach_features = mode == "paper" if detach_features is None else detach_features
        self.standardize_features = standardize_features
        self.sigma = sigma
        self.filter_size = filter_size
        self.feature_conv = None
        if feature_weight > 0 and (mode == "paper" or second_filter):
            self.feature_conv = nn.Conv2d(in_channels, feature_channels, 3, padding=1)

    def deep_features(self, mask_feats: Tensor) -> Tensor | None:
        """Return the convolution of the mask features (B, C, H, W); None where it is not used."""
        return None if self.feature_conv is None else self.feature_conv(mask_feats)

    def forward(self, masks: Masks) -> Tensor:
        """Return the losses (K,), float32, of an image's masks."""
        pixels = masks.domain.sum((1, 2)).clamp(min=1)
        length = self._length(masks) if self.length_weight else 0
        total = masks.scores.new_zeros(len(masks.scores))
        if self.image_weight:
            image = masks.image if self.image_space == "rgb" else masks.lab
            assert image is not None
            total = total + self.image_weight * (self._energy(image, masks) + length)
        if self.feature_weight:
            features = self._released(masks) if self.mode == "released" else self._paper(masks)
            energy = self._energy(features, masks).to(total)
            total = total + self.feature_weight * (energy + length)
        return total / pixels

    def _energy(self, features: Tensor, masks: Masks) -> Tensor:
        domain = masks.domain.to(masks.scores)
        return region_energy(features, masks.scores, domain) / features.shape[-3]

    def _length(self, masks: Masks) -> Tensor:
        domain = masks.domain.to(masks.scores)
        if self.mode == "paper":
            # The box's own edge is no contour.
            across = domain[:, 1:] * domain[:, :-1] * masks.scores.diff(dim=1).abs()
            along = domain[..., 1:] * domain[..., :-1] * masks.scores.diff(dim=2).abs()
            return self.length_weight * (across.sum((1, 2)) + along.sum((1, 2)))
        inside, outside = masks.scores * domain, (1 - masks.scores) * domain
        return self.length_weight * (contour_length(inside) + contour_length(outside))

    def _released(self, masks: Masks) -> Tensor:
        """Return t1 and t2 (K, 2, H, W), or t1 alone (K, 1, H, W)."""
        scores = masks.scores.detach() if self.detach_features else masks.scores
        size = self.filter_size or scores.shape[1:]
        image, scores = resize(masks.image, size)[None], resize(scores, size)[None]
        filtered = tree_filter(scores, minimum_spanning_tree(image), image, self.sigma)
        if masks.deep is None:
            return resize(filtered[0], masks.scores.shape[1:])[:, None]
        guide = resize(masks.deep.to(image), size)[None]
        # The guide's weights are close to 1, and its gradients are small differences of t2: in
        # float32 they would be off by a thousandth.
        again = tree_filter(filtered, minimum_spanning_tree(guide), guide.double())
        both = torch.stack((filtered[0].double(), again[0]), 1)
        return resize(both, masks.scores.shape[1:])

    def _paper(self, masks: Masks) -> Tensor:
        """Return the deep features (C, H, W), shared by the image's masks."""
        assert masks.deep is not None
        size = masks.scores.shape[1:]
        features = resize(masks.deep.to(masks.image), size)
        if self.tree_filter:
            small = self.filter_size or size
            image = resize(masks.image, small)[None]
            tree = minimum_spanning_tree(image)
            features = tree_filter(resize(features, small)[None], tree, image, self.sigma)[0]
            features = resize(features, size)
        if self.standardize_features:
            spread, mean = torch.std_mean(features, (1, 2), correction=0, keepdim=True)
            features = (features - mean) / (spread + 1e-6)
        return features.detach() if self.detach_features else features
