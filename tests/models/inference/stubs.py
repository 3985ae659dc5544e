"""Detectors that find exactly the painted areas of an image, and painted images."""

from collections.abc import Sequence

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from mmcv.transforms import Compose
from mmdet.models.data_preprocessors import DetDataPreprocessor
from mmdet.models.detectors import TwoStageDetector
from mmdet.models.detectors.base import BaseDetector
from mmdet.models.roi_heads import StandardRoIHead
from mmdet.models.roi_heads.mask_heads import FCNMaskHead
from mmdet.structures.mask import mask2bbox
from mmengine.config import ConfigDict
from mmengine.dataset import pseudo_collate
from mmengine.registry import DefaultScope
from mmengine.structures import InstanceData
from torch import nn

META = ("ori_shape", "img_shape", "scale_factor", "flip", "flip_direction")


class Painted(BaseDetector):
    """A detector of connected painted areas; the class is the channel, 0 or 1.

    Smaller areas have higher scores, so that the pieces of an object score higher than the whole.
    """

    def __init__(self) -> None:
        super().__init__(DetDataPreprocessor())
        self.seen: list[tuple[int, ...]] = []

    def predict(self, batch_inputs, batch_data_samples):
        self.seen.append(tuple(batch_inputs.shape))
        for image, sample in zip(batch_inputs, batch_data_samples, strict=True):
            height, width = sample.img_shape[:2]
            sample.pred_instances = painted(image[:, :height, :width], sample.ori_shape[:2])
        return batch_data_samples

    def loss(self, batch_inputs, batch_data_samples):
        return dict(loss=batch_inputs.sum())

    def _forward(self, batch_inputs, batch_data_samples=None):
        return batch_inputs

    def extract_feat(self, batch_inputs):
        return (batch_inputs,)


class NoBoxes(Painted):
    """A detector without boxes: it returns zeros."""

    def predict(self, batch_inputs, batch_data_samples):
        samples = super().predict(batch_inputs, batch_data_samples)
        for sample in samples:
            sample.pred_instances.bboxes = torch.zeros(len(sample.pred_instances), 4)
        return samples


def painted(image, size: Sequence[int]) -> InstanceData:
    """The painted areas of an image (3, H, W) as detections, resized to ``size``."""
    masks, labels = [torch.zeros(0, *image.shape[1:], dtype=torch.bool)], []
    for label in (0, 1):
        count, regions = cv2.connectedComponents((image[label].numpy() > 127).astype(np.uint8))
        masks.append(torch.from_numpy(regions) == torch.arange(1, count)[:, None, None])
        labels += [label] * (count - 1)
    found = torch.cat(masks)
    if len(found):
        found = F.adaptive_avg_pool2d(found.float()[None], tuple(size))[0] >= 0.5
    return InstanceData(
        masks=found.reshape(-1, *size),
        labels=torch.tensor(labels, dtype=torch.long),
        scores=1 / (1 + found.flatten(1).sum(1) / 1e4),
        bboxes=mask2bbox(found),
    )


class OneClassMaskHead(FCNMaskHead):
    """A mask head that reads its features as probabilities."""

    def forward(self, x):
        return 20 * (x - 0.5)


class PaintedRPN(nn.Module):
    def predict(self, x, batch_data_samples, rescale=False):
        results = []
        for image, sample in zip(x[0], batch_data_samples, strict=True):
            height, width = sample.img_shape[:2]
            found = painted(255 * image[:, :height, :width].repeat(2, 1, 1), (height, width))
            results.append(InstanceData(bboxes=found.bboxes[found.labels == 0]))
        return results


class ProposalRoIHead(StandardRoIHead):
    """A RoI head that returns the proposals as detections, the largest first."""

    def predict_bbox(self, x, batch_img_metas, rpn_results_list, rcnn_test_cfg, rescale=False):
        return [
            InstanceData(
                bboxes=proposals.bboxes,
                scores=(proposals.bboxes[:, 2] - proposals.bboxes[:, 0]) / 1e4,
                labels=torch.zeros(len(proposals), dtype=torch.long),
            )
            for proposals in rpn_results_list
        ]


class PaintedTwoStage(TwoStageDetector):
    """A two-stage detector: boxes of painted areas, and their masks on a 28 x 28 grid."""

    def __init__(self) -> None:
        BaseDetector.__init__(self, DetDataPreprocessor())
        self.rpn_head = PaintedRPN()
        with DefaultScope.overwrite_default_scope("mmdet"):
            self.roi_head = ProposalRoIHead(
                mask_roi_extractor=dict(
                    type="SingleRoIExtractor",
                    roi_layer=dict(type="RoIAlign", output_size=28, sampling_ratio=0),
                    out_channels=1,
                    featmap_strides=[1],
                ),
                mask_head=dict(
                    type=OneClassMaskHead, num_convs=0, num_classes=1, class_agnostic=True
                ),
                test_cfg=ConfigDict(mask_thr_binary=0.5),
            )

    @property
    def with_bbox(self) -> bool:
        return True

    def extract_feat(self, batch_inputs):
        return ((batch_inputs[:, :1] > 127).float(),)


def paint(height: int, width: int, shapes: Sequence[tuple]) -> np.ndarray:
    """An image (H, W, 3) uint8 with an L-shaped area for each (channel, x1, y1, x2, y2)."""
    image = np.zeros((height, width, 3), dtype=np.uint8)
    for channel, x1, y1, x2, y2 in shapes:
        image[y1:y2, x1:x2, channel] = 255
        image[y1 : (y1 + y2) // 2, (x1 + x2) // 2 : x2, channel] = 0
    return image


def pack(image: np.ndarray, transforms: Sequence[dict] = ()) -> dict:
    """A batch of one image from a test pipeline."""
    height, width = image.shape[:2]
    results = dict(
        img=image,
        img_id=7,
        img_path="7.png",
        img_shape=(height, width),
        ori_shape=(height, width),
        scale_factor=(1.0, 1.0),
    )
    keys = ("img_id", "img_path", "ori_shape", "img_shape", "scale_factor")
    transforms = transforms or [dict(type="PackDetInputs", meta_keys=keys)]
    with DefaultScope.overwrite_default_scope("mmdet"):
        return pseudo_collate([Compose(list(transforms))(results)])


def views(*scales: float, flips: Sequence[str | None], size: Sequence[int]) -> list[dict]:
    """The transform that makes views of an image of a size (H, W)."""
    resizes = [
        dict(type="Resize", scale=(round(scale * size[1]), round(scale * size[0])))
        for scale in scales
    ]
    turns = [
        dict(type="RandomFlip", prob=float(flip is not None), direction=flip or "horizontal")
        for flip in flips
    ]
    packing = dict(type="PackDetInputs", meta_keys=META)
    return [dict(type="TestTimeAug", transforms=[resizes, turns, [packing]])]


def as_set(instances: InstanceData) -> set[tuple]:
    """The set of the detections' classes and masks."""
    masks = instances.masks.cpu().numpy()
    return {
        (int(label), np.packbits(mask).tobytes())
        for label, mask in zip(instances.labels, masks, strict=True)
    }
