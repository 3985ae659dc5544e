from mmdet.models.detectors import SOLOv2
from torch import Tensor

from mmlevelset.models.common import ImageFeatures
from mmlevelset.registry import MODELS


@MODELS.register_module()
class BoxLevelSet(SOLOv2):
    """mmdet's SOLOv2; its mask head gets the normalised images with the features."""

    def extract_feat(self, batch_inputs: Tensor) -> ImageFeatures:
        """Features of the images (B, C, H, W), one map a level, and the images."""
        return ImageFeatures(super().extract_feat(batch_inputs), batch_inputs)
