"""Semantic networks (FCN and DeepLab) and the level-set loss of Kim et al. 2019."""

from mmlevelset.models.levelset_loss.heads import ASPPHead, FCNHead, LargeFOVHead
from mmlevelset.models.levelset_loss.init import DecimatedVGG, Pretrained
from mmlevelset.models.levelset_loss.loss_sum import LossSum
from mmlevelset.models.levelset_loss.losses import LevelSetLoss, level_set_energy
from mmlevelset.models.levelset_loss.panoptic import PanopticFPNHead
from mmlevelset.models.levelset_loss.segmentor import SemanticSegmentor
from mmlevelset.models.levelset_loss.vgg import DeepLabVGG

__all__ = [
    "ASPPHead",
    "DecimatedVGG",
    "DeepLabVGG",
    "FCNHead",
    "LargeFOVHead",
    "LevelSetLoss",
    "LossSum",
    "PanopticFPNHead",
    "Pretrained",
    "SemanticSegmentor",
    "level_set_energy",
]
