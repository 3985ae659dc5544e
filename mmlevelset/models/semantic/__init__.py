"""Semantic networks and the level-set loss (Kim et al. 2019): FCN and DeepLab."""

from mmlevelset.models.semantic.heads import ASPPHead, FCNHead, LargeFOVHead
from mmlevelset.models.semantic.init import DecimatedVGG, Pretrained
from mmlevelset.models.semantic.loss_sum import LossSum
from mmlevelset.models.semantic.losses import LevelSetLoss, level_set_energy
from mmlevelset.models.semantic.panoptic import PanopticFPNHead
from mmlevelset.models.semantic.segmentor import SemanticSegmentor
from mmlevelset.models.semantic.vgg import DeepLabVGG

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
