from mmdet.models.detectors import SOLOv2
from mmdet.structures import SampleList
from torch import Tensor

from mmlevelset.registry import MODELS


@MODELS.register_module()
class BoxLevelSet(SOLOv2):
    """mmdet's SOLOv2, whose head also sees the normalised images."""

    def extract_feat(self, batch_inputs: Tensor) -> tuple[Tensor, ...]:
        """Features of the images (B, C, H, W), one map a level."""
        self.mask_head.images = batch_inputs
        return super().extract_feat(batch_inputs)

    def loss(self, batch_inputs: Tensor, batch_data_samples: SampleList) -> dict:
        """Losses of a batch of images (B, 3, H, W)."""
        x = self.extract_feat(batch_inputs)
        return self.mask_head.loss(x, batch_data_samples, images=batch_inputs)
