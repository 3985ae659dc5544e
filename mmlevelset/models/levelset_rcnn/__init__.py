"""LevelSet R-CNN: Mask R-CNN with an unrolled Chan-Vese evolution (Homayounfar et al. 2020)."""

from mmlevelset.models.levelset_rcnn.convolution_head import ConvolutionMaskHead
from mmlevelset.models.levelset_rcnn.delse_head import DELSEMaskHead
from mmlevelset.models.levelset_rcnn.delse_hyperparameters import (
    DELSEHyperparameterHead,
    FixedDELSEHyperparameters,
    GlobalDELSEHyperparameters,
)
from mmlevelset.models.levelset_rcnn.detector import LevelSetRCNN
from mmlevelset.models.levelset_rcnn.heads import (
    ChanVeseFeatureHead,
    GlobalHyperparameters,
    HyperparameterHead,
)
from mmlevelset.models.levelset_rcnn.losses import (
    AngularLoss,
    BalancedMaskLoss,
    TSDFLoss,
    TSDFSquareLoss,
)
from mmlevelset.models.levelset_rcnn.mask_head import LevelSetMaskHead
from mmlevelset.models.levelset_rcnn.mask_level_set_loss import MaskLevelSetLoss
from mmlevelset.models.levelset_rcnn.panet import (
    AdaptiveFeaturePooling,
    PANetLevelSetMaskHead,
    PANetMaskHead,
)
from mmlevelset.models.levelset_rcnn.roi_head import LevelSetRoIHead
from mmlevelset.models.levelset_rcnn.tsdf_mask_head import TSDFMaskHead

__all__ = [
    "AdaptiveFeaturePooling",
    "AngularLoss",
    "BalancedMaskLoss",
    "ChanVeseFeatureHead",
    "ConvolutionMaskHead",
    "DELSEHyperparameterHead",
    "DELSEMaskHead",
    "FixedDELSEHyperparameters",
    "GlobalDELSEHyperparameters",
    "GlobalHyperparameters",
    "HyperparameterHead",
    "LevelSetMaskHead",
    "LevelSetRCNN",
    "LevelSetRoIHead",
    "MaskLevelSetLoss",
    "PANetLevelSetMaskHead",
    "PANetMaskHead",
    "TSDFLoss",
    "TSDFMaskHead",
    "TSDFSquareLoss",
]
