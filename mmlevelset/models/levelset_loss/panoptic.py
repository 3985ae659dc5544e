import mmdet.models
import torch
import torch.nn.functional as F
from mmdet.structures import SampleList
from torch import Tensor

from mmlevelset.registry import MODELS


@MODELS.register_module()
class PanopticFPNHead(mmdet.models.PanopticFPNHead):
    """mmdet's semantic head of Panoptic FPN, for losses of whole images.

    mmdet's head flattens the pixels of the batch. This would merge the regions of all images. This
    head passes logits (B, K, H, W) and labels (B, H, W) to ``loss_seg``.
    """

    def loss(self, x: tuple[Tensor, ...], batch_data_samples: SampleList) -> dict[str, Tensor]:
        """Return ``loss_seg`` at the labels' resolution; labels are shrunk by nearest neighbour."""
        logits = self(x)["seg_preds"]
        labels = torch.stack([sample.gt_sem_seg.sem_seg for sample in batch_data_samples])
        if self.seg_rescale_factor != 1:
            # float32 holds labels up to 255 exactly.
            labels = F.interpolate(labels.float(), scale_factor=self.seg_rescale_factor)
        labels = self._set_things_to_void(labels[:, 0]).long()
        if logits.shape[2:] != labels.shape[1:]:
            size = labels.shape[1:]
            logits = F.interpolate(logits, size=size, mode="bilinear", align_corners=False)
        return dict(loss_seg=self.loss_seg(logits, labels))
