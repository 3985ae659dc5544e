"""Recurrent level sets: curve evolution as a gated recurrent unit (Le et al. 2019)."""

from mmlevelset.models.crls.crls import CRLS
from mmlevelset.models.crls.crop_refinement import CropRefinement
from mmlevelset.models.crls.fconnet import FConNet
from mmlevelset.models.crls.mask_head import RefinedFCNMaskHead
from mmlevelset.models.crls.proposals import CRLSRPNHead
from mmlevelset.models.crls.recurrent_level_set import RecurrentLevelSet
from mmlevelset.models.crls.refinement import RecurrentRefinement
from mmlevelset.models.crls.result import Segmentation, segmentation_loss
from mmlevelset.models.crls.rls import RLS
from mmlevelset.models.crls.roi_head import CRLSRoIHead
from mmlevelset.models.crls.stages import CRLSBBoxHead, CRLSMaskHead
from mmlevelset.models.crls.vgg import CRLSVGG
from mmlevelset.models.crls.warp import RoIWarp

__all__ = [
    "CRLS",
    "CRLSVGG",
    "RLS",
    "CRLSBBoxHead",
    "CRLSMaskHead",
    "CRLSRPNHead",
    "CRLSRoIHead",
    "CropRefinement",
    "FConNet",
    "RecurrentLevelSet",
    "RecurrentRefinement",
    "RefinedFCNMaskHead",
    "RoIWarp",
    "Segmentation",
    "segmentation_loss",
]
