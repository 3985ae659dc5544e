"""CRLS, a detector with recurrent level sets, and RLS for single objects (Le et al. 2019)."""

from mmlevelset.models.crls.crls import CRLS
from mmlevelset.models.crls.fconnet import FConNet
from mmlevelset.models.crls.proposals import CRLSRPNHead
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
    "FConNet",
    "RoIWarp",
]
