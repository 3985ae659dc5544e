from mmdet.models.detectors import TwoStageDetector

from mmlevelset.models.crls.proposals import CRLSRPNHead
from mmlevelset.models.crls.roi_head import CRLSRoIHead
from mmlevelset.registry import MODELS


@MODELS.register_module()
class CRLS(TwoStageDetector):
    """Contextual recurrent level sets (Le et al., Recurrent Level Set Networks, 2019).

    Three stages share the features of a backbone: proposals (:class:`CRLSRPNHead`); the mask of
    each proposal by a recurrent level set (:class:`CRLSMaskHead`); the proposal's class by its
    features and its mask (:class:`CRLSBBoxHead`). The stages are trained together. A later loss
    reaches the earlier stages through the masks, and with ``box_gradient`` in :class:`RoIWarp`
    through the coordinates of the proposals too. No gradient passes through the choice of
    proposals by scores, non-maximum suppression and sampling; the level of a pyramid; the targets,
    which depend on the proposals; a coordinate that is cut off at the image's edge.

    Args:
        *args: Arguments of mmdet's :class:`TwoStageDetector`.
        **kwargs: Arguments of mmdet's :class:`TwoStageDetector`.

    Raises:
        TypeError: ``rpn_head`` or ``roi_head`` is not a head of CRLS.
    """

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        for name, kind in dict(rpn_head=CRLSRPNHead, roi_head=CRLSRoIHead).items():
            head = getattr(self, name, None)
            if not isinstance(head, kind):
                raise TypeError(
                    f"{name} must be a mmlevelset.{kind.__name__}, but is {type(head).__name__}"
                )
