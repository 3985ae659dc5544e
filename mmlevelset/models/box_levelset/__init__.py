"""Masks from boxes: BoxLevelSet (Li et al. 2022), and its losses for other detectors of mmdet."""

from mmlevelset.models.box_levelset.condinst_head import BoxCondInstBboxHead, BoxCondInstHead
from mmlevelset.models.box_levelset.detector import (
    BoxCondInst,
    BoxLevelSet,
    BoxMask2Former,
    BoxRTMDet,
)
from mmlevelset.models.box_levelset.head import BoxSOLOv2Head
from mmlevelset.models.box_levelset.level_set_loss import BoxLevelSetLoss
from mmlevelset.models.box_levelset.losses import BoxProjectionLoss, LocalConsistencyLoss
from mmlevelset.models.box_levelset.mask2former_head import BoxMask2FormerHead
from mmlevelset.models.box_levelset.matching import BoxProjectionCost
from mmlevelset.models.box_levelset.pairwise import BoxPairwiseLoss
from mmlevelset.models.box_levelset.rtmdet_head import BoxRTMDetInsHead
from mmlevelset.models.box_levelset.supervision import BoxSupervision

__all__ = [
    "BoxCondInst",
    "BoxCondInstBboxHead",
    "BoxCondInstHead",
    "BoxLevelSet",
    "BoxLevelSetLoss",
    "BoxMask2Former",
    "BoxMask2FormerHead",
    "BoxPairwiseLoss",
    "BoxProjectionCost",
    "BoxProjectionLoss",
    "BoxRTMDet",
    "BoxRTMDetInsHead",
    "BoxSOLOv2Head",
    "BoxSupervision",
    "LocalConsistencyLoss",
]
