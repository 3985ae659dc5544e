"""Mask R-CNN and its relatives as one function of an image."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmlevelset.experiments.export import ops
from mmlevelset.experiments.export.parts import Normalize, clipped, require_plain_nms, sides

SPARE = 2
"""Boxes that are added before a head and taken off behind it.

torch.export distinguishes batches of none, of one and of more; some ONNX operators fail on none.
"""


class MaskRCNN(nn.Module):
    """A two-stage detector with a mask head, from the image to masks.

    Args:
        model: mmdet's ``MaskRCNN`` or ``mmlevelset.LevelSetRCNN``, in evaluation mode.

    Raises:
        InputError: The detector has a part that cannot be exported.
    """

    smallest_side = 33

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        self.normalize = Normalize(model.data_preprocessor)
        rpn, rcnn = model.rpn_head.test_cfg, model.roi_head.test_cfg
        self.rpn_iou = require_plain_nms(rpn.nms, "model.test_cfg.rpn.nms")
        self.rcnn_iou = require_plain_nms(rcnn.nms, "model.test_cfg.rcnn.nms")

    def forward(self, image: Tensor, size: Tensor) -> dict[str, Tensor]:
        """Return the detections of an image.

        Args:
            image: uint8 (h, w, 3), RGB, at the size of the network's input.
            size: int64 (2,), height and width of the masks.
        """
        shape = image.shape[0], image.shape[1]
        images = self.normalize(image)
        x = tuple(self.model.extract_feat(images))
        boxes, scores, labels = self._detect(x, self._propose(x, shape), shape)
        maps = self._maps(x, images, _with_spare(boxes), F.pad(labels, (0, SPARE)))[:-SPARE]
        height, width = sides(size)
        scale = torch.stack([image.new_full((), side, dtype=torch.float32) for side in shape])
        boxes = boxes / (scale / size).flip(0).repeat(2)
        return self._result(boxes, labels, scores, maps, height, width)

    def _propose(self, x: tuple[Tensor, ...], shape: tuple[int, int]) -> Tensor:
        """The RPN's proposals (n, 4)."""
        head = self.model.rpn_head
        settings = head.test_cfg
        scores, deltas = head(x)
        sizes = [(level.shape[2], level.shape[3]) for level in scores]
        anchors = head.prior_generator.grid_priors(sizes, device=scores[0].device)
        parts = []
        for level, (own, delta, anchor) in enumerate(zip(scores, deltas, anchors, strict=True)):
            own = own[0].permute(1, 2, 0).reshape(-1, head.cls_out_channels)
            own = own.sigmoid()[:, 0] if head.use_sigmoid_cls else own.softmax(-1)[:, 0]
            delta = delta[0].permute(1, 2, 0).reshape(-1, 4)
            if settings.get("nms_pre", -1) > 0:
                count = torch.sym_min(settings.nms_pre, own.shape[0])
                own, best = own.topk(count)
                delta, anchor = delta[best], anchor[best]
            boxes = clipped(head.bbox_coder.decode(anchor, delta), *shape)
            parts.append((boxes, own, torch.full_like(own, level)))
        boxes, ranks, levels = (torch.cat(each) for each in zip(*parts, strict=True))
        smallest = settings.get("min_bbox_size", -1)
        if smallest >= 0:
            large = (boxes[:, 2:] - boxes[:, :2] > smallest).all(1)
            ranks = torch.where(large, ranks, -2.0)
        kept = _nms_by_class(boxes, ranks, levels, self.rpn_iou, -1.0, settings.max_per_img)
        return boxes[kept]

    def _detect(
        self, x: tuple[Tensor, ...], proposals: Tensor, shape: tuple[int, int]
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Boxes (n, 4) in pixels of the network's input, scores (n,) and labels (n,)."""
        roi_head = self.model.roi_head
        head, settings = roi_head.bbox_head, roi_head.test_cfg
        rois = _with_spare(proposals)
        features = self._crops(roi_head.bbox_roi_extractor, x, rois)
        if roi_head.with_shared_head:
            features = roi_head.shared_head(features)
        scores, deltas = head(features)
        if head.custom_cls_channels:
            scores = head.loss_cls.get_activation(scores)
        else:
            scores = scores.softmax(-1)
        classes = head.num_classes
        boxes = clipped(head.bbox_coder.decode(rois, deltas).unflatten(1, (-1, 4)), *shape)
        boxes = boxes.expand(-1, classes, 4)[:-SPARE].reshape(-1, 4)
        scores = scores[:-SPARE, :classes]
        labels = torch.arange(classes, device=scores.device).expand_as(scores).reshape(-1)
        scores = scores.reshape(-1)
        kept = _nms_by_class(
            boxes, scores, labels, self.rcnn_iou, settings.score_thr, settings.max_per_img
        )
        return boxes[kept], scores[kept], labels[kept]

    def _crops(self, extractor: Any, x: tuple[Tensor, ...], boxes: Tensor) -> Tensor:
        """Features (n, C, s, s) of boxes, each from the level of its size."""
        layer = extractor.roi_layers[0]
        levels = x[: extractor.num_inputs]
        rois = F.pad(boxes, (1, 0))
        return ops.roi_align(
            list(levels),
            boxes,
            extractor.map_roi_levels(rois, len(levels)),
            layer.output_size[0],
            [each.spatial_scale for each in extractor.roi_layers],
            layer.sampling_ratio,
        )

    def _maps(self, x: tuple[Tensor, ...], images: Tensor, boxes: Tensor, labels: Tensor) -> Tensor:
        """The mask head's logits or level sets (n, h, w)."""
        return self._of_labels(self.model.roi_head.mask_head(self._features(x, boxes)), labels)

    def _features(self, x: tuple[Tensor, ...], boxes: Tensor) -> Tensor:
        """The features (n, C, s, s) that the mask head takes."""
        roi_head = self.model.roi_head
        features = self._crops(roi_head.mask_roi_extractor, x, boxes)
        return roi_head.shared_head(features) if roi_head.with_shared_head else features

    def _of_labels(self, maps: Tensor, labels: Tensor) -> Tensor:
        if self.model.roi_head.mask_head.class_agnostic:
            return maps[:, 0]
        return maps[torch.arange(maps.shape[0], device=maps.device), labels]

    def _result(
        self,
        boxes: Tensor,
        labels: Tensor,
        scores: Tensor,
        maps: Tensor,
        height: int,
        width: int,
    ) -> dict[str, Tensor]:
        threshold = float(self.model.roi_head.test_cfg.mask_thr_binary)
        masks = ops.paste(maps.sigmoid(), boxes, height, width, threshold, False)
        return dict(boxes=boxes, labels=labels, scores=scores, masks=masks, mask_logits=maps)


class LevelSetRCNN(MaskRCNN):
    """A detector whose mask head gets the classes and the crops of the image.

    Args:
        model: ``mmlevelset.LevelSetRCNN`` with ``mmlevelset.LevelSetRoIHead``.
    """

    def _maps(self, x: tuple[Tensor, ...], images: Tensor, boxes: Tensor, labels: Tensor) -> Tensor:
        roi_head = self.model.roi_head
        head = roi_head.mask_head
        crops = {}
        if head.image_features:
            crops["image"] = self._crop(images, boxes, 1.0)
        project = getattr(head, "fine_projection", None)
        if project is not None:
            stride = roi_head.mask_roi_extractor.featmap_strides[0]
            crops["fine"] = self._crop(project(x[0]), boxes, 1 / stride)
        result = head(self._features(x, boxes), labels, **crops)
        return result.final if hasattr(result, "final") else result.refined

    def _crop(self, maps: Tensor, boxes: Tensor, scale: float) -> Tensor:
        owners = torch.zeros_like(boxes[:, 0], dtype=torch.int64)
        size = self.model.roi_head.mask_head.mask_size
        return ops.roi_align([maps], boxes, owners, size, [scale], 0)

    def _result(
        self,
        boxes: Tensor,
        labels: Tensor,
        scores: Tensor,
        maps: Tensor,
        height: int,
        width: int,
    ) -> dict[str, Tensor]:
        if not hasattr(self.model.roi_head.mask_head, "truncation"):
            return super()._result(boxes, labels, scores, maps, height, width)
        masks = ops.paste(maps, boxes, height, width, 0.0, True)
        return dict(boxes=boxes, labels=labels, scores=scores, masks=masks, level_sets=maps)


def _with_spare(boxes: Tensor) -> Tensor:
    return torch.cat([boxes, boxes.new_tensor([[0.0, 0.0, 16.0, 16.0]] * SPARE)])


def _nms_by_class(
    boxes: Tensor, scores: Tensor, classes: Tensor, iou: float, threshold: float, limit: int
) -> Tensor:
    """Indices of the kept boxes; a box suppresses boxes of its class alone.

    Each class's boxes are shifted to a place of their own, exactly as in mmcv's ``batched_nms``.
    """
    used = torch.where((scores > threshold)[:, None], boxes, 0)
    offsets = classes.to(boxes.dtype) * (used.max() + 1)
    return ops.nms(boxes + offsets[:, None], scores, iou, threshold, limit)
