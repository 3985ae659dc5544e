"""LevelSet R-CNN: Mask R-CNN with an unrolled Chan-Vese evolution (Homayounfar et al. 2020)."""

from mmlevelset.models.levelset_rcnn.detector import LevelSetRCNN
from mmlevelset.models.levelset_rcnn.heads import (
    ChanVeseFeatureHead,
    GlobalHyperparameters,
    HyperparameterHead,
)
from mmlevelset.models.levelset_rcnn.losses import TSDFLoss
from mmlevelset.models.levelset_rcnn.mask_head import LevelSetMaskHead
from mmlevelset.models.levelset_rcnn.roi_head import LevelSetRoIHead

__all__ = [
    "ChanVeseFeatureHead",
    "GlobalHyperparameters",
    "HyperparameterHead",
    "LevelSetMaskHead",
    "LevelSetRCNN",
    "LevelSetRoIHead",
    "TSDFLoss",
]
