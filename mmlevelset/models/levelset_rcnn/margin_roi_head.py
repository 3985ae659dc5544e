from collections.abc import Sequence
from copy import copy

import torch
from mmdet.models.roi_heads import StandardRoIHead
from mmdet.structures.bbox import bbox2roi
from mmdet.utils import InstanceList
from torch import Tensor

from mmlevelset.models.common import check_not_negative, split_rois
from mmlevelset.registry import MODELS


@MODELS.register_module()
class MarginRoIHead(StandardRoIHead):
    """mmdet's RoI head; its masks are predicted on enlarged boxes.

    mmdet's masks end at the sides of the predicted box. So a box that cuts off a head also cuts the
    mask. With a margin, the mask head sees what is around the box, in training and in inference,
    and its mask may leave the box. Not in a paper.

    Args:
        *args: Arguments of mmdet's ``StandardRoIHead``.
        mask_margin: A box is enlarged on each side by this part of its width and height, up to the
            image's sides. 0: as in mmdet.
        **kwargs: Arguments of mmdet's ``StandardRoIHead``.

    Raises:
        ValueError: The margin is negative, or there is a margin without ``mask_roi_extractor``.
    """

    def __init__(self, *args, mask_margin: float = 0.0, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        check_not_negative(mask_margin=mask_margin)
        if mask_margin and self.share_roi_extractor:
            raise ValueError("mask_roi_extractor must be given: mask_margin needs RoIs of its own")
        self.mask_margin = mask_margin

    def mask_boxes(self, boxes: Tensor, shape: Sequence[int]) -> Tensor:
        """Return the boxes (M, 4) of the masks' grids.

        Args:
            boxes: Boxes of objects (M, 4), in pixels.
            shape: Height and width of the image.
        """
        if not self.mask_margin:
            return boxes
        # mmdet's targets end at the image, so the boxes must not leave it.
        end = boxes.new_tensor([shape[1], shape[0]]).repeat(2)
        return enlarged(boxes, self.mask_margin).clamp(min=0).min(end)

    def mask_loss(
        self,
        x: tuple[Tensor, ...],
        sampling_results: list,
        bbox_feats: Tensor,
        batch_gt_instances: InstanceList,
    ) -> dict:
        """Losses of the mask head on the enlarged positive RoIs."""
        sampling_results = self._enlarged(sampling_results, batch_gt_instances)
        return super().mask_loss(x, sampling_results, bbox_feats, batch_gt_instances)

    def _enlarged(self, sampling_results: list, batch_gt_instances: InstanceList) -> list:
        copies = [copy(sampled) for sampled in sampling_results]
        for sampled, truth in zip(copies, batch_gt_instances, strict=True):
            shape = (truth.masks.height, truth.masks.width)
            sampled.pos_priors = self.mask_boxes(sampled.pos_priors, shape)
        return copies

    def predict_mask(
        self,
        x: tuple[Tensor, ...],
        batch_img_metas: list[dict],
        results_list: InstanceList,
        rescale: bool = False,
    ) -> InstanceList:
        """Add masks to the detections; with a margin also ``mask_boxes``, their grids' boxes."""
        if not any(map(len, results_list)):
            return super().predict_mask(x, batch_img_metas, results_list, rescale)
        maps = self.mask_maps(x, results_list, batch_img_metas)
        return self.paste_masks(maps, results_list, batch_img_metas, rescale)

    def mask_maps(
        self, x: tuple[Tensor, ...], results_list: InstanceList, batch_img_metas: list[dict]
    ) -> list:
        """The mask head's result for each image's detections, on the grids of :meth:`mask_boxes`.

        Args:
            x: Features of the images.
            results_list: Detections with ``bboxes`` in pixels of the network's input and
                ``labels``.
            batch_img_metas: Each image's meta information.
        """
        rois = self._mask_rois(results_list, batch_img_metas)
        maps = self._mask_forward(x, rois)["mask_preds"]
        return split_rois(maps, [len(results) for results in results_list])

    def _mask_rois(self, results_list: InstanceList, batch_img_metas: list[dict]) -> Tensor:
        pairs = zip(results_list, batch_img_metas, strict=True)
        return bbox2roi([self.mask_boxes(own.bboxes, meta["img_shape"]) for own, meta in pairs])

    def paste_masks(
        self,
        maps: Sequence,
        results_list: InstanceList,
        batch_img_metas: list[dict],
        rescale: bool = False,
    ) -> InstanceList:
        """Add masks to the detections from :meth:`mask_maps`, as :meth:`predict_mask` returns them.

        Args:
            maps: For each image, the mask head's result.
            results_list: Detections with ``bboxes`` in pixels of the network's input.
            batch_img_metas: Each image's meta information.
            rescale: Give boxes and masks in the original image instead of the network's input.
        """
        detected = [results.bboxes for results in results_list]
        if self.mask_margin:
            for results, meta in zip(results_list, batch_img_metas, strict=True):
                results.bboxes = self.mask_boxes(results.bboxes, meta["img_shape"])
        results_list = self.mask_head.predict_by_feat(
            maps, results_list, batch_img_metas, self.test_cfg, rescale
        )
        if self.mask_margin:
            for results, boxes, meta in zip(results_list, detected, batch_img_metas, strict=True):
                scale = boxes.new_tensor(meta["scale_factor"]).repeat(2) if rescale else 1
                results.mask_boxes, results.bboxes = results.bboxes, boxes / scale
        return results_list


def enlarged(boxes: Tensor, margin: float) -> Tensor:
    """Return boxes (M, 4) that are larger on each side by this part of their width and height."""
    pad = (boxes[:, 2:] - boxes[:, :2]) * margin
    return torch.cat([boxes[:, :2] - pad, boxes[:, 2:] + pad], 1)
