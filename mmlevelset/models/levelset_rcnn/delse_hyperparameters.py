"""The hyperparameters of a DELSE evolution: predicted, learned or fixed."""

from typing import ClassVar, NamedTuple

import torch
from mmengine.model import BaseModule
from torch import Tensor

from mmlevelset.models.levelset_rcnn.heads import GlobalHyperparameters, HyperparameterHead
from mmlevelset.registry import MODELS

# Tuned by hand on noisy and shifted distances of generated shapes with their true directions. Near
# the contour the terms are about 0.8, 0.1 and 0.1 samples in a unit of time. Three steps improve
# the mask and stay stable.
ALPHA, BETA, GAMMA, DT = 1.0, 0.5, 0.1, 0.7


class DELSEHyperparameters(NamedTuple):
    """The evolution's settings of M regions: alpha, beta, gamma (M,) and dt (M, N)."""

    alpha: Tensor
    beta: Tensor
    gamma: Tensor
    dt: Tensor

    @classmethod
    def split(cls, values: Tensor) -> "DELSEHyperparameters":
        """Return the settings from one tensor (M, 3 + N): alpha, beta, gamma and N dt."""
        alpha, beta, gamma = values[:, :3].unbind(1)
        return cls(alpha, beta, gamma, values[:, 3:])


class _Predicted:
    """The map from outputs to settings, for predicted and for learned hyperparameters."""

    RANGES: ClassVar[dict[str, tuple[float, float]]] = dict(
        alpha=(0.0, 2.0), beta=(0.0, 2.0), gamma=(0.0, 2.0), dt=(0.0, 2.0)
    )
    """Lowest and highest value of each setting."""
    HARMLESS_AT_ZERO: ClassVar[tuple[str, ...]] = ("beta", "gamma")

    @staticmethod
    def initial_logits(num_steps: int) -> Tensor:
        """Return the outputs that give the settings tuned by hand."""
        return torch.logit(torch.tensor([ALPHA, BETA, GAMMA] + [DT] * num_steps) / 2)

    @staticmethod
    def split(values: Tensor) -> DELSEHyperparameters:
        """Return the settings from one tensor (M, 3 + N)."""
        return DELSEHyperparameters.split(values)


@MODELS.register_module()
class DELSEHyperparameterHead(_Predicted, HyperparameterHead):
    """Predicts each region's alpha, beta, gamma and dt_1..N, each by ``2 * sigmoid``.

    LevelSet R-CNN's hyperparameter head for DELSE's evolution (its Table 3, "DELSE + HP head").
    All settings start near the settings of :class:`FixedDELSEHyperparameters`.

    Args:
        *args: Arguments of :class:`HyperparameterHead`.
        **kwargs: Arguments of :class:`HyperparameterHead`.
    """


@MODELS.register_module()
class GlobalDELSEHyperparameters(_Predicted, GlobalHyperparameters):
    """One learned set for all regions; arguments as of :class:`DELSEHyperparameterHead`."""


@MODELS.register_module()
class FixedDELSEHyperparameters(BaseModule):
    """Settings tuned by hand, the same for all regions and steps (Table 3, "DELSE").

    Args:
        num_steps: N, steps of the evolution.
        in_channels: Unused; the mask head gives it to every kind of hyperparameters.
        alpha: Speed along the velocity, in samples; like the others, an argument of
            :func:`~mmlevelset.models.levelset_rcnn.geodesic.evolve_geodesic`.
        beta: Weight of the curvature.
        gamma: Weight of the regularisation.
        dt: Step of time.

    Raises:
        ValueError: A setting is negative.
    """

    def __init__(
        self,
        num_steps: int = 3,
        in_channels: int = 256,
        alpha: float = ALPHA,
        beta: float = BETA,
        gamma: float = GAMMA,
        dt: float = DT,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        for name, value in (("alpha", alpha), ("beta", beta), ("gamma", gamma), ("dt", dt)):
            if not value >= 0:
                raise ValueError(f"{name} must not be negative, but is {value}")
        values = torch.tensor([alpha, beta, gamma] + [dt] * num_steps)
        self.register_buffer("values", values, persistent=False)

    def forward(self, x: Tensor) -> DELSEHyperparameters:
        """The settings for each of the M regions of ``x`` (M, in_channels, h, w)."""
        return DELSEHyperparameters.split(self.values.expand(len(x), -1))
