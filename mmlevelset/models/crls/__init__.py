"""Recurrent level sets: curve evolution as a gated recurrent unit (Le et al. 2019)."""

from mmlevelset.models.crls.crop_refinement import CropRefinement
from mmlevelset.models.crls.fconnet import FConNet
from mmlevelset.models.crls.mask_head import RefinedFCNMaskHead
from mmlevelset.models.crls.recurrent_level_set import RecurrentLevelSet
from mmlevelset.models.crls.refinement import RecurrentRefinement
from mmlevelset.models.crls.result import Segmentation, segmentation_loss
from mmlevelset.models.crls.rls import RLS

__all__ = [
    "RLS",
    "CropRefinement",
    "FConNet",
    "RecurrentLevelSet",
    "RecurrentRefinement",
    "RefinedFCNMaskHead",
    "Segmentation",
    "segmentation_loss",
]
