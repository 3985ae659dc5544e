"""The recurrent level set (Le et al. 2019), and with it the refinement of any model's masks."""

from mmlevelset.models.recurrent.crop_refinement import CropRefinement
from mmlevelset.models.recurrent.mask_head import RefinedFCNMaskHead
from mmlevelset.models.recurrent.recurrent_level_set import RecurrentLevelSet
from mmlevelset.models.recurrent.refinement import RecurrentRefinement
from mmlevelset.models.recurrent.result import Segmentation, segmentation_loss

__all__ = [
    "CropRefinement",
    "RecurrentLevelSet",
    "RecurrentRefinement",
    "RefinedFCNMaskHead",
    "Segmentation",
    "segmentation_loss",
]
