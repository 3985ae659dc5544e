import torch
from mmdet.models.layers import multiclass_nms
from mmdet.models.roi_heads import StandardRoIHead
from mmdet.models.utils import unpack_gt_instances
from mmdet.structures import SampleList
from mmdet.structures.bbox import bbox2roi, scale_boxes
from mmdet.utils import InstanceList
from mmengine.structures import InstanceData
from torch import Tensor

from mmlevelset.models.common import check_choice
from mmlevelset.models.recurrent.result import Segmentation
from mmlevelset.registry import MODELS

MASK_BOXES = ("proposals", "detections")


@MODELS.register_module()
class CRLSRoIHead(StandardRoIHead):
    """Stages 2 and 3 of CRLS: the mask of each proposal, then its class and box by the mask.

    Le et al., Recurrent Level Set Networks, 2019, sections 3.2, 3.3 and 4. The loss of a stage
    reaches the earlier stages: through the mask, and with ``box_gradient`` in :class:`RoIWarp`
    through the coordinates of the proposals. Targets are constant.

    Args:
        *args: Arguments of mmdet's :class:`StandardRoIHead`. ``bbox_roi_extractor`` serves both
            stages, ``mask_head`` is a :class:`CRLSMaskHead`, ``bbox_head`` a :class:`CRLSBBoxHead`.
        mask_boxes: ``proposals``: a detection has its proposal's mask, within the proposal
            (paper). ``detections``: masks are made again, within the regressed boxes.
        **kwargs: Arguments of mmdet's :class:`StandardRoIHead`.

    Raises:
        ValueError: An argument is out of its range.
    """

    def __init__(self, *args, mask_boxes: str = "proposals", **kwargs) -> None:
        super().__init__(*args, **kwargs)
        check_choice("mask_boxes", mask_boxes, MASK_BOXES)
        if not (self.with_bbox and self.with_mask and self.share_roi_extractor):
            raise ValueError(
                "bbox_head and mask_head must be given and mask_roi_extractor must be None: both"
                " heads share bbox_roi_extractor"
            )
        self.mask_boxes = mask_boxes

    def forward(
        self,
        x: tuple[Tensor, ...],
        rpn_results_list: InstanceList,
        batch_data_samples: SampleList | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Class scores, box deltas and mask logits (R, 2, m, m) of all proposals."""
        rois = bbox2roi([proposals.bboxes for proposals in rpn_results_list])
        found, scores, deltas = self._stages(x, rois)
        return scores, deltas, found.logits

    def loss(
        self, x: tuple[Tensor, ...], rpn_results_list: InstanceList, batch_data_samples: SampleList
    ) -> dict[str, Tensor]:
        """Return ``loss_mask``, ``loss_cls`` and ``loss_bbox`` of sampled proposals."""
        truths, ignored, _ = unpack_gt_instances(batch_data_samples)
        sampled, boxes, positive = [], [], []
        for proposals, truth, ignore in zip(rpn_results_list, truths, ignored, strict=True):
            constant = InstanceData(priors=proposals.bboxes.detach())
            assigned = self.bbox_assigner.assign(constant, truth, ignore)
            sample = self.bbox_sampler.sample(assigned, constant, truth)
            chosen = torch.cat([sample.pos_inds, sample.neg_inds])
            # The sampler may have put the true boxes before the proposals.
            candidates = torch.cat([truth.bboxes.to(proposals.bboxes), proposals.bboxes])
            boxes.append(candidates[len(candidates) - len(assigned.gt_inds) :][chosen])
            positive.append(torch.arange(len(chosen), device=chosen.device) < len(sample.pos_inds))
            sampled.append(sample)
        rois, keep = bbox2roi(boxes), torch.cat(positive)
        found, scores, deltas = self._stages(x, rois)
        masks = self.mask_head.loss_and_target(
            Segmentation(found.logits[keep], found.trajectory[:, keep]),
            sampled,
            truths,
            self.train_cfg,
        )
        classes = self.bbox_head.loss_and_target(
            scores, deltas, rois.detach(), sampled, self.train_cfg
        )
        return {**masks["loss_mask"], **classes["loss_bbox"]}

    def predict(
        self,
        x: tuple[Tensor, ...],
        rpn_results_list: InstanceList,
        batch_data_samples: SampleList,
        rescale: bool = False,
    ) -> InstanceList:
        """Return each image's detections: ``bboxes``, ``scores``, ``labels`` and ``masks``."""
        metas = [sample.metainfo for sample in batch_data_samples]
        proposals = [found.bboxes for found in rpn_results_list]
        counts = [len(boxes) for boxes in proposals]
        rois = bbox2roi(proposals)
        found, scores, deltas = self._stages(x, rois)
        candidates = self.bbox_head.predict_by_feat(
            *(values.split(counts) for values in (rois, scores, deltas)), metas
        )
        logits = self._foreground_logits(found).split(counts)
        results, masks, places = [], [], []
        for number, candidate in enumerate(candidates):
            detected, labels, kept = multiclass_nms(
                candidate.bboxes,
                candidate.scores,
                self.test_cfg.score_thr,
                self.test_cfg.nms,
                self.test_cfg.max_per_img,
                return_inds=True,
            )
            owner = kept // self.bbox_head.num_classes
            results.append(
                InstanceData(bboxes=detected[:, :4], scores=detected[:, 4], labels=labels)
            )
            masks.append(logits[number][owner])
            places.append(proposals[number][owner])
        if self.mask_boxes == "detections":
            places = [detections.bboxes for detections in results]
            features = self._features(x, bbox2roi(places))
            again = self._foreground_logits(self.mask_head(features))
            masks = list(again.split([len(boxes) for boxes in places]))
        # Copies, since mmdet rescales boxes in place.
        pasted = self.mask_head.predict_by_feat(
            tuple(masks),
            [
                InstanceData(bboxes=boxes.clone(), labels=detections.labels)
                for boxes, detections in zip(places, results, strict=True)
            ],
            metas,
            self.test_cfg,
            rescale,
        )
        for detections, instances, meta in zip(results, pasted, metas, strict=True):
            detections.masks = instances.masks
            if rescale:
                factors = [1 / factor for factor in meta["scale_factor"]]
                detections.bboxes = scale_boxes(detections.bboxes, factors)
        return results

    def _features(self, x: tuple[Tensor, ...], rois: Tensor) -> Tensor:
        return self.bbox_roi_extractor(x[: self.bbox_roi_extractor.num_inputs], rois)

    def _stages(self, x: tuple[Tensor, ...], rois: Tensor) -> tuple[Segmentation, Tensor, Tensor]:
        """Masks, class scores and box deltas of RoIs (R, 5)."""
        features = self._features(x, rois)
        found = self.mask_head(features)
        scores, deltas = self.bbox_head(features, found.logits.softmax(1)[:, 1])
        return found, scores, deltas

    @staticmethod
    def _foreground_logits(found: Segmentation) -> Tensor:
        """Return logits (R, 1, m, m); their sigmoid is the softmax of the foreground."""
        background, foreground = found.logits.split(1, 1)
        return foreground - background
