from collections.abc import Iterator

import torch
import torch.nn as nn
from mmdet.utils import ConfigType, OptConfigType
from torch import Tensor

from mmlevelset.models.levelset_rcnn.result import LevelSets
from mmlevelset.models.levelset_rcnn.tsdf_mask_head import Stage, TSDFMaskHead
from mmlevelset.ops import evolve_chan_vese
from mmlevelset.registry import MODELS


@MODELS.register_module()
class LevelSetMaskHead(TSDFMaskHead):
    """Mask head of LevelSet R-CNN (Homayounfar et al., ECCV 2020).

    Mask R-CNN's mask head regresses the truncated signed distance (TSDF) of the object; upsampled,
    it is phi_0. A second head predicts the hyperparameters of a Chan-Vese evolution, a third head
    its features. The evolution is unrolled from phi_0 to phi_N. The mask is ``phi_N > 0``.

    The arguments of :class:`TSDFMaskHead`'s trunk apply too.

    Args:
        mask_size: Side of phi and of the features, in samples of the RoI's grid.
        num_steps: N, steps of the evolution; 0 leaves the TSDF head alone.
        truncation: Truncation of the TSDF, in samples of the trunk's output (28 x 28).
        detach_initial: Stop the gradients from phi_N into phi_0.
        image_features: Add the RoI's crop of the normalised image to the evolution's feature
            channels. Not in the paper.
        image_channels: Channels of the image.
        data_scale: If given, a learned positive factor on lambda1 and lambda2 that starts at this
            value. Not in the paper.
        reduction: How squared feature distances are reduced over channels: ``mean`` or ``sum``.
        eta: See :func:`mmlevelset.ops.curvature`.
        delta: See :func:`mmlevelset.ops.evolve_chan_vese`.
        hyperparameter_head: Config of the hyperparameter head; ``in_channels`` and ``num_steps``
            are set from this head's.
        feature_head: Config of the feature head; ``in_channels`` is set from this head's.
        loss_tsdf: Loss of a level set.
        initial_weight: Weight of the loss of phi_0.
        final_weight: Weight of the loss of phi_N, and of the loss of the refined phi_N.
        refinement: Config of ``mmlevelset.RecurrentRefinement``, which refines phi_N;
            ``in_channels`` and ``slope`` are set for this head. Not in the paper.
    """

    def __init__(
        self,
        *args,
        mask_size: int = 112,
        num_steps: int = 3,
        truncation: float = 4.0,
        detach_initial: bool = False,
        image_features: bool = False,
        image_channels: int = 3,
        data_scale: float | None = None,
        reduction: str = "mean",
        eta: float = 1e-4,
        delta: str = "printed",
        hyperparameter_head: ConfigType = dict(type="mmlevelset.HyperparameterHead"),
        feature_head: OptConfigType = dict(type="mmlevelset.ChanVeseFeatureHead"),
        loss_tsdf: ConfigType = dict(type="mmlevelset.TSDFLoss"),
        initial_weight: float = 1.0,
        final_weight: float = 5.0,
        refinement: OptConfigType = None,
        **kwargs,
    ) -> None:
        super().__init__(
            *args,
            mask_size=mask_size,
            num_steps=num_steps,
            truncation=truncation,
            detach_initial=detach_initial,
            initial_weight=initial_weight,
            final_weight=final_weight,
            **kwargs,
        )
        if data_scale is not None and not data_scale > 0:
            raise ValueError(f"data_scale must be positive, but is {data_scale}")
        if num_steps and feature_head is None and not image_features:
            raise ValueError("feature_head is None and image_features is off: nothing to evolve on")
        self.evolves_on_image = self.image_features = image_features and num_steps > 0
        self.reduction = reduction
        self.eta = eta
        self.delta = delta
        self.loss_tsdf = MODELS.build(loss_tsdf)
        self.log_data_scale: nn.Parameter | None = None
        self.feature_head = None
        if num_steps:
            self.hyperparameter_head = MODELS.build(
                dict(hyperparameter_head, in_channels=self.in_channels, num_steps=num_steps)
            )
            if feature_head is not None:
                self.feature_head = MODELS.build(dict(feature_head, in_channels=self.in_channels))
            if data_scale is not None:
                self.log_data_scale = nn.Parameter(torch.tensor(data_scale).log())
        self.refinement: nn.Module | None = None
        if refinement is not None:
            # Level sets are measured in truncation ranges: at 1, phi_0 is tanh(2).
            settings = dict(in_channels=self.in_channels, slope=2.0)
            module = MODELS.build({**settings, **refinement})
            self.image_features = self.image_features or module.image_channels > 0
            self.refinement = module

    def forward(
        self, x: Tensor, labels: Tensor | None = None, image: Tensor | None = None
    ) -> LevelSets:
        """Level sets of M RoIs.

        Args:
            x: RoI features (M, in_channels, h, w).
            labels: Class of each RoI (M,), for the channel of the TSDF; not used if
                ``class_agnostic``.
            image: With ``image_features`` or a refinement, the RoI's crops of the image (M,
                image_channels, mask_size, mask_size).

        Returns:
            The trajectory (M, N+1, mask_size, mask_size) and, with a refinement, the refined phi_N.

        Raises:
            ValueError: A shape does not fit, or the labels or the image are missing.
        """
        initial = self.initial_level_set(x, labels)
        trajectory = self._evolved(x, initial, image) if self.num_steps else initial
        if self.refinement is None:
            return LevelSets(trajectory)
        return LevelSets(trajectory, refined=self.refinement(trajectory[:, -1], image, x))

    def _evolved(self, x: Tensor, initial: Tensor, image: Tensor | None) -> Tensor:
        start = initial[:, 0].detach() if self.detach_initial else initial[:, 0]
        settings = self.hyperparameter_head(x)
        scale = 1.0 if self.log_data_scale is None else self.log_data_scale.exp()
        level_sets = evolve_chan_vese(
            start,
            self._features(x, image),
            settings.lambda1 * scale,
            settings.lambda2 * scale,
            settings.mu,
            settings.eps,
            settings.dt,
            reduction=self.reduction,
            eta=self.eta,
            delta=self.delta,
            return_trajectory=True,
        )
        return torch.cat([initial, level_sets[:, 1:]], 1)

    def _features(self, x: Tensor, image: Tensor | None) -> Tensor:
        features = []
        if self.feature_head is not None:
            features.append(self.feature_head(x, self.mask_size))
        if self.evolves_on_image:
            if image is None:
                raise ValueError("image must be given when image_features is on, but is None")
            features.append(image.to(features[0].dtype if features else image.dtype))
        return torch.cat(features, 1)

    def stages(self, level_sets: LevelSets) -> Iterator[Stage]:
        yield Stage("initial", level_sets.initial, self.loss_tsdf, self.initial_weight)
        if self.num_steps:
            last = level_sets.trajectory[:, -1]
            yield Stage("final", last, self.loss_tsdf, self.final_weight)
        if level_sets.refined is not None:
            yield Stage("refined", level_sets.refined, self.loss_tsdf, self.final_weight)
