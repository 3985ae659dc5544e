"""BoxLevelSet: SOLOv2 trained by boxes with a level-set energy (Li et al. 2022)."""

from mmlevelset.models.box_levelset.detector import BoxLevelSet
from mmlevelset.models.box_levelset.head import BoxSOLOv2Head
from mmlevelset.models.box_levelset.level_set_loss import BoxLevelSetLoss
from mmlevelset.models.box_levelset.losses import BoxProjectionLoss, LocalConsistencyLoss

__all__ = [
    "BoxLevelSet",
    "BoxLevelSetLoss",
    "BoxProjectionLoss",
    "BoxSOLOv2Head",
    "LocalConsistencyLoss",
]
