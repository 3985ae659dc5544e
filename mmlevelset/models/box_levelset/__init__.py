"""BoxLevelSet: SOLOv2 trained by boxes with a level-set energy (Li et al. 2022)."""

from mmlevelset.models.box_levelset.detector import BoxLevelSet
from mmlevelset.models.box_levelset.head import BoxSOLOv2Head
from mmlevelset.models.box_levelset.level_set_loss import BoxLevelSetLoss
from mmlevelset.models.box_levelset.losses import BoxProjectionLoss, LocalConsistencyLoss
from mmlevelset.models.box_levelset.pairwise import BoxPairwiseLoss
from mmlevelset.models.box_levelset.supervision import BoxSupervision

__all__ = [
    "BoxLevelSet",
    "BoxLevelSetLoss",
    "BoxPairwiseLoss",
    "BoxProjectionLoss",
    "BoxSOLOv2Head",
    "BoxSupervision",
    "LocalConsistencyLoss",
]
