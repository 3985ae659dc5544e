from collections.abc import Iterator

import torch
import torch.nn as nn
from mmdet.utils import ConfigType, OptConfigType
from torch import Tensor

from mmlevelset.models.levelset_rcnn.heads import Hyperparameters
from mmlevelset.models.levelset_rcnn.log import movement_log, settings_log, terms_log
from mmlevelset.models.levelset_rcnn.result import LevelSets
from mmlevelset.models.levelset_rcnn.sources import FeatureSources
from mmlevelset.models.levelset_rcnn.tsdf_mask_head import Stage, TSDFMaskHead
from mmlevelset.ops import curvature, dirac, evolve_chan_vese
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
        image_features: Add the RoI's crop of the normalised image to the evolution's features.
            Not in the paper.
        image_channels: Channels of the image.
        fine_channels: Add the RoI's crop of the finest map to the evolution's features, projected
            to this number of channels by a 1x1 convolution. Not in the paper.
        standardize: Divide each source of features by its standard deviation over the region, see
            :class:`~mmlevelset.models.levelset_rcnn.sources.FeatureSources`.
        data_scale: Factor on lambda1 and lambda2 at the start. It is learned, for each source of
            features, between 0 and 4 times this value. None: 1, not learned.
        reduction: How squared feature distances are reduced over channels: ``mean`` or ``sum``.
        curvature_scale: What mu = 1 means, in squared samples of the trunk's output (28 x 28),
            whatever ``mask_size`` is. In a step with dt = 1 the curvature moves the contour by
            curvature_scale mu kappa / pi of these samples; with ``delta="derivative"``, by 1 / eps
            times as much. The default keeps every mu and dt stable up to a grid of 112.
        eta: See :func:`mmlevelset.ops.curvature`; here phi is measured in samples of its grid.
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
        fine_channels: int = 0,
        standardize: bool = True,
        data_scale: float | None = 1.0,
        reduction: str = "mean",
        curvature_scale: float = 0.08,
        eta: float = 1e-2,
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
        if not curvature_scale >= 0:
            raise ValueError(f"curvature_scale must not be negative, but is {curvature_scale}")
        if not isinstance(fine_channels, int) or fine_channels < 0:
            raise ValueError(f"fine_channels must be 0 or positive, but is {fine_channels!r}")
        used = dict(head=feature_head is not None, fine=fine_channels > 0, image=image_features)
        if num_steps and not any(used.values()):
            raise ValueError(
                "feature_head is None, fine_channels is 0 and image_features is off: nothing to"
                " evolve on"
            )
        self.image_features = image_features and num_steps > 0
        self.image_channels = image_channels
        self.reduction = reduction
        self.curvature_scale = curvature_scale
        self.eta = eta
        self.delta = delta
        self.loss_tsdf = MODELS.build(loss_tsdf)
        self.feature_head: nn.Module | None = None
        if num_steps:
            if feature_head is not None:
                self.feature_head = MODELS.build(dict(feature_head, in_channels=self.in_channels))
            if fine_channels:
                self.fine_projection = nn.Conv2d(self.in_channels, fine_channels, 1)
            names = tuple(name for name, is_used in used.items() if is_used)
            self.sources = FeatureSources(names, data_scale, standardize, reduction)
            self.build_evolution(hyperparameter_head)
        self.refinement: nn.Module | None = None
        if refinement is not None:
            # Level sets are measured in truncation ranges: at 1, phi_0 is tanh(2).
            settings = dict(in_channels=self.in_channels, slope=2.0)
            module = MODELS.build({**settings, **refinement})
            self.image_features = self.image_features or module.image_channels > 0
            self.refinement = module

    def build_evolution(self, hyperparameter_head: ConfigType) -> None:
        """Build the layers of :meth:`evolve`."""
        self.hyperparameter_head = MODELS.build(
            dict(hyperparameter_head, in_channels=self.in_channels, num_steps=self.num_steps)
        )

    def forward(
        self,
        x: Tensor,
        labels: Tensor | None = None,
        image: Tensor | None = None,
        fine: Tensor | None = None,
    ) -> LevelSets:
        """Level sets of M RoIs.

        Args:
            x: RoI features (M, in_channels, h, w).
            labels: Class of each RoI (M,), for the channel of the TSDF; not used if
                ``class_agnostic``.
            image: With ``image_features`` or a refinement, the RoI's crops of the image (M,
                image_channels, mask_size, mask_size).
            fine: With ``fine_channels``, the RoI's crops of ``fine_projection``'s result (M,
                fine_channels, mask_size, mask_size).

        Returns:
            The trajectory (M, N+1, mask_size, mask_size) and, with a refinement, the refined phi_N.

        Raises:
            ValueError: A shape does not fit, or an argument is missing.
        """
        x = self.normalized(x)
        initial = self.initial_level_set(x, labels)
        trajectory, log = initial, None
        if self.num_steps:
            start = self.start_of_evolution(initial)
            level_sets, log = self.evolve(start, x, *self.sources(self._maps(x, image, fine)))
            trajectory = torch.cat([initial, level_sets[:, 1:]], 1)
        if self.refinement is None:
            return LevelSets(trajectory, log=log)
        refined = self.refinement(trajectory[:, -1], image, x)
        return LevelSets(trajectory, refined=refined, log=log)

    def evolve(
        self, start: Tensor, x: Tensor, features: Tensor, gain: Tensor
    ) -> tuple[Tensor, dict[str, Tensor] | None]:
        """Evolve level sets.

        Args:
            start: phi_0 (M, mask_size, mask_size).
            x: RoI features (M, in_channels, h, w).
            features: F (M, C, mask_size, mask_size).
            gain: Factor on lambda1 and lambda2 (M,).

        Returns:
            phi_0..phi_N (M, N+1, mask_size, mask_size), and in training values for the log.
        """
        settings = self.hyperparameter_head(x)
        per_sample = self.samples_in_truncation / self.truncation  # samples of phi in the trunk's
        mu = settings.mu * (self.curvature_scale * per_sample / self.truncation)
        eta = self.eta / self.samples_in_truncation**2
        level_sets = evolve_chan_vese(
            start,
            features,
            settings.lambda1 * gain,
            settings.lambda2 * gain,
            mu,
            settings.eps,
            settings.dt,
            reduction=self.reduction,
            eta=eta,
            delta=self.delta,
            return_trajectory=True,
        )
        return level_sets, self._log(level_sets, settings, mu, eta) if self.training else None

    @torch.no_grad()
    def _log(
        self, level_sets: Tensor, settings: Hyperparameters, mu: Tensor, eta: float
    ) -> dict[str, Tensor]:
        before = level_sets[:, :-1]
        eps = settings.eps[..., None, None]
        speed = settings.dt[..., None, None] * dirac(before, eps)
        if self.delta == "printed":
            speed *= eps
        kappa = curvature(before.flatten(0, 1), eta).view_as(before)
        smoothing = speed * mu[:, None, None, None] * kappa
        terms = dict(curvature=smoothing, data=level_sets.diff(dim=1) - smoothing)
        log = settings_log(settings) | movement_log(level_sets) | terms_log(level_sets, terms)
        return log | self.sources.log(len(level_sets))

    def _maps(self, x: Tensor, image: Tensor | None, fine: Tensor | None) -> list[Tensor]:
        """The features of each source."""
        maps = [] if self.feature_head is None else [self.feature_head(x, self.mask_size)]
        given = dict(fine=fine, image=image)
        for name in self.sources.names:
            if name in given:
                crops = given[name]
                if crops is None:
                    option = "image_features" if name == "image" else "fine_channels"
                    raise ValueError(f"{name} must be given when {option} is on, but is None")
                maps.append(crops.to(maps[0].dtype) if maps else crops)
        return maps

    def stages(self, level_sets: LevelSets) -> Iterator[Stage]:
        yield Stage("initial", level_sets.initial, self.loss_tsdf, self.initial_weight)
        if self.num_steps:
            last = level_sets.trajectory[:, -1]
            yield Stage("final", last, self.loss_tsdf, self.final_weight)
        if level_sets.refined is not None:
            yield Stage("refined", level_sets.refined, self.loss_tsdf, self.final_weight)
