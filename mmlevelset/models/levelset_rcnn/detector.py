from mmdet.models.detectors import MaskRCNN
from torch import Tensor

from mmlevelset.registry import MODELS


@MODELS.register_module()
class LevelSetRCNN(MaskRCNN):
    """mmdet's Mask R-CNN, which also shows its RoI head the normalised input images."""

    def extract_feat(self, batch_inputs: Tensor) -> tuple[Tensor, ...]:
        """Features of the images (B, C, H, W), one map a level."""
        self.roi_head.images = batch_inputs
        return super().extract_feat(batch_inputs)
