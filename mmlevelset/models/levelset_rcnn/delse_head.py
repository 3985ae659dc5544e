import math
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from mmdet.utils import ConfigType
from torch import Tensor

from mmlevelset.models.levelset_rcnn.geodesic import evolve_geodesic, geodesic_terms
from mmlevelset.models.levelset_rcnn.log import movement_log, settings_log, terms_log
from mmlevelset.models.levelset_rcnn.result import LevelSets
from mmlevelset.models.levelset_rcnn.targets import TARGETS, boundary_directions
from mmlevelset.models.levelset_rcnn.tsdf_mask_head import Stage, TSDFMaskHead
from mmlevelset.registry import MODELS


@MODELS.register_module()
class DELSEMaskHead(TSDFMaskHead):
    """DELSE (Wang et al., CVPR 2019) in Mask R-CNN, as in LevelSet R-CNN's Table 3.

    A predicted velocity, the direction to the nearest boundary, moves the level set phi_0 of the
    TSDF head; the curvature term smooths the level set where the predicted modulation is large. The
    mask is ``phi_N > 0``. :func:`~mmlevelset.models.levelset_rcnn.geodesic.evolve_geodesic` has the
    equation. The RoI head must be ``mmlevelset.LevelSetRoIHead``.

    The defaults are the paper's first setting: fixed hyperparameters and DELSE's losses. Its second
    setting has ``mmlevelset.DELSEHyperparameterHead`` and ``mmlevelset.TSDFLoss`` for phi_0 and
    phi_N.

    Args:
        *args: Arguments of the trunk, see :class:`TSDFMaskHead`.
        mask_size: Side of phi, velocity and modulation, in samples of the RoI's grid.
        num_steps: N, steps of the evolution, at least 1.
        truncation: Truncation of the TSDF, in samples of the trunk's output (28 x 28).
        detach_initial: Stop the gradients from phi_N into phi_0.
        eta: See :func:`~mmlevelset.models.levelset_rcnn.geodesic.evolve_geodesic`.
        hyperparameter_head: Config of the module that gives alpha, beta, gamma and dt;
            ``in_channels`` and ``num_steps`` are set from this head's.
        velocity_head: Config of the velocity head, with two output channels; ``in_channels`` is
            set from this head's.
        modulation_head: The same for the modulation head, with one output channel.
        loss_initial: Loss of phi_0.
        loss_final: Loss of phi_N.
        loss_velocity: Loss of the velocity.
        initial_weight: Weight of the loss of phi_0.
        final_weight: Weight of the loss of phi_N.
        velocity_weight: Weight of the loss of the velocity.
        **kwargs: Arguments of the trunk.

    Raises:
        ValueError: An argument is out of its range.
    """

    def __init__(
        self,
        *args,
        mask_size: int = 112,
        num_steps: int = 3,
        truncation: float = 4.0,
        detach_initial: bool = False,
        eta: float = 1e-2,
        hyperparameter_head: ConfigType = dict(type="mmlevelset.FixedDELSEHyperparameters"),
        velocity_head: ConfigType = dict(
            type="mmlevelset.ChanVeseFeatureHead", upsample_channels=(128, 64, 2)
        ),
        modulation_head: ConfigType = dict(
            type="mmlevelset.ChanVeseFeatureHead", upsample_channels=(128, 64, 1)
        ),
        loss_initial: ConfigType = dict(type="mmlevelset.TSDFSquareLoss"),
        loss_final: ConfigType = dict(type="mmlevelset.BalancedMaskLoss"),
        loss_velocity: ConfigType = dict(type="mmlevelset.AngularLoss"),
        initial_weight: float = 1.0,
        final_weight: float = 5.0,
        velocity_weight: float = 1.0,
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
        if num_steps < 1:
            raise ValueError(
                f"num_steps must be at least 1, but is {num_steps}: the TSDF head alone is"
                " mmlevelset.LevelSetMaskHead with num_steps=0"
            )
        if not eta > 0:
            raise ValueError(f"eta must be positive, but is {eta}")
        for name, head, channels in (
            ("velocity_head", velocity_head, 2),
            ("modulation_head", modulation_head, 1),
        ):
            widths = head.get("upsample_channels")
            if widths is not None and widths[-1] != channels:
                raise ValueError(
                    f"{name}.upsample_channels must end in {channels}, but is {widths}"
                )
        self.eta = eta
        self.hyperparameter_head = MODELS.build(
            dict(hyperparameter_head, in_channels=self.in_channels, num_steps=num_steps)
        )
        self.velocity_head = MODELS.build(dict(velocity_head, in_channels=self.in_channels))
        self.modulation_head = MODELS.build(dict(modulation_head, in_channels=self.in_channels))
        self.loss_initial = MODELS.build(loss_initial)
        self.loss_final = MODELS.build(loss_final)
        self.loss_velocity = MODELS.build(loss_velocity)
        self.velocity_weight = velocity_weight

    def forward(
        self, x: Tensor, labels: Tensor | None = None, image: Tensor | None = None
    ) -> LevelSets:
        """Level sets and velocity of M RoIs.

        Args:
            x: RoI features (M, in_channels, h, w).
            labels: Class of each RoI (M,), for the channel of the TSDF; not used if
                ``class_agnostic``.
            image: Unused.

        Returns:
            The trajectory (M, N+1, mask_size, mask_size) and the velocity.

        Raises:
            ValueError: A shape does not fit, or the labels are missing.
        """
        x = self.normalized(x)
        initial = self.initial_level_set(x, labels)
        settings = self.hyperparameter_head(x)
        velocity = F.normalize(self.velocity_head(x, self.mask_size).float(), dim=1, eps=1e-6)
        start = self.start_of_evolution(initial)
        modulation = self.modulation_head(x, self.mask_size)[:, 0].float().sigmoid()
        arguments = (velocity, modulation, *settings, self.samples_in_truncation, self.eta)
        trajectory = evolve_geodesic(start, *arguments)
        log = None
        if self.training:
            with torch.no_grad():
                log = settings_log(settings) | movement_log(trajectory)
                log |= terms_log(trajectory, geodesic_terms(trajectory, *arguments))
        trajectory = torch.cat([initial, trajectory[:, 1:]], 1)
        return LevelSets(trajectory, velocity=velocity, log=log)

    def stages(self, level_sets: LevelSets) -> Iterator[Stage]:
        yield Stage("initial", level_sets.initial, self.loss_initial, self.initial_weight)
        yield Stage("final", level_sets.final, self.loss_final, self.final_weight)

    def _losses(self, level_sets: LevelSets, *targets: Tensor) -> dict[str, Tensor]:
        masks, tsdfs, directions = targets
        losses = super()._losses(level_sets, masks, tsdfs)
        loss = self.loss_velocity(level_sets.velocity, directions)
        losses["loss_velocity"] = self.velocity_weight * loss
        return losses

    def _targets_of_image(
        self, masks: Tensor, boxes: Tensor, indices: Tensor
    ) -> tuple[Tensor, ...]:
        """Masks, TSDFs, and the directions to the boundary (M, 2, mask_size, mask_size)."""
        margin = math.ceil(self.samples_in_truncation)
        make = TARGETS[self.targets]
        tsdfs = make(masks, boxes, indices, self.mask_size, self.samples_in_truncation, margin)
        inside = tsdfs > 0
        directions = boundary_directions(inside)
        window = slice(margin, margin + self.mask_size)
        return tuple(maps[..., window, window] for maps in (inside, tsdfs, directions))
