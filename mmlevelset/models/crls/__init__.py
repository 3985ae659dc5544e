"""Recurrent level sets: curve evolution as a gated recurrent unit (Le et al. 2019)."""

from mmlevelset.models.crls.fconnet import FConNet
from mmlevelset.models.crls.recurrent_level_set import RecurrentLevelSet
from mmlevelset.models.crls.result import Segmentation, segmentation_loss
from mmlevelset.models.crls.rls import RLS

__all__ = ["RLS", "FConNet", "RecurrentLevelSet", "Segmentation", "segmentation_loss"]
