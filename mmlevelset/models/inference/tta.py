"""Test-time augmentation of detectors with masks."""

from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
from mmdet.models.detectors import TwoStageDetector
from mmdet.models.roi_heads import StandardRoIHead
from mmdet.models.roi_heads.base_roi_head import BaseRoIHead
from mmdet.models.roi_heads.mask_heads import FCNMaskHead
from mmdet.structures import DetDataSample, SampleList
from mmdet.structures.bbox import bbox2roi, bbox_flip, bbox_overlaps
from mmdet.utils import InstanceList
from mmengine.model import BaseTTAModel
from mmengine.structures import InstanceData
from pycocotools import mask as mask_util
from torch import Tensor, nn

from mmlevelset.models.common import map_fields, split_rois
from mmlevelset.models.inference.encoded import EncodedMasks
from mmlevelset.models.inference.views import group_views, vote_masks
from mmlevelset.registry import MODELS

FLIPS = {"horizontal": (-1,), "vertical": (-2,), "diagonal": (-2, -1)}


@MODELS.register_module()
class MaskTTAModel(BaseTTAModel):
    """Average a detector's results over views of an image: scaled, flipped, or both.

    Overlapping detections of different views form a group (:func:`group_views`), which becomes one
    detection. Its box is the mean of the group's boxes, weighted by their scores. Its score is the
    mean over all views, with 0 for a view without a detection in the group. Masks are merged in
    one of two ways:

    - ``boxes`` is for detectors that predict the mask of a given box (Mask R-CNN, LevelSet R-CNN).
      Each view predicts the masks of the merged boxes. The maps on the boxes' grids are averaged,
      then the mask is pasted. Other maps of the mask head, such as initial masks, are averaged
      too. Features are computed twice, so that only a view's features are in memory at a time.
    - ``vote`` is for any detector. Detections are compared by the IoU of their masks. A pixel is
      inside the merged mask if masks with at least half of the group's scores contain it. Results
      have boxes, scores, labels and masks. If the detector has no boxes, the boxes are the masks'
      bounding boxes.

    For a single view that is neither scaled nor flipped, the detections are the detector's own.
    Checkpoints of the detector load.

    Args:
        module: The detector, or its config.
        masks: ``boxes``, ``vote``, or ``auto`` for ``boxes`` if the detector supports it.
        average: Function of the maps before the mean: ``sigmoid`` for logits, ``none`` for level
            sets.
        iou_thr: Minimum IoU, of boxes or of masks, of detections in a group.
        boxes: Box of a group: ``weighted`` mean, or ``best`` for the box of the best detection.
        scores: Score of a group: ``mean``, or ``max`` for the score of the best detection.
        max_per_img: Maximum number of detections of an image.
        data_preprocessor: Replaces the detector's data preprocessor if ``module`` is a config.

    Raises:
        ValueError: An argument is out of its range.
        TypeError: ``masks`` is ``boxes``, but the detector does not predict the masks of boxes.
    """

    def __init__(
        self,
        module: dict | nn.Module,
        masks: str = "auto",
        average: str = "sigmoid",
        iou_thr: float = 0.5,
        boxes: str = "weighted",
        scores: str = "mean",
        max_per_img: int = 100,
        data_preprocessor: dict | nn.Module | None = None,
    ) -> None:
        super().__init__(module, data_preprocessor)
        for name, value, known in (
            ("masks", masks, ("auto", "boxes", "vote")),
            ("average", average, ("sigmoid", "none")),
            ("boxes", boxes, ("weighted", "best")),
            ("scores", scores, ("mean", "max")),
        ):
            if value not in known:
                raise ValueError(f"{name} must be one of {', '.join(known)}, but is {value!r}")
        if not (isinstance(iou_thr, int | float) and 0 < iou_thr <= 1):
            raise ValueError(f"iou_thr must be in (0, 1], but is {iou_thr!r}")
        if not isinstance(max_per_img, int) or max_per_img < 1:
            raise ValueError(f"max_per_img must be a positive integer, but is {max_per_img!r}")
        able = _predicts_masks_of_boxes(self.module)
        if masks == "boxes" and not able:
            raise TypeError(
                "masks='boxes' needs a detector that predicts the masks of given boxes, as"
                f" MaskRCNN does, but module is {type(self.module).__name__}: use masks='vote'"
            )
        self.by_boxes = able and masks != "vote"
        self.average = average
        self.iou_thr = iou_thr
        self.boxes = boxes
        self.scores = scores
        self.max_per_img = max_per_img

    def test_step(self, data: dict) -> SampleList:
        """Return the merged detections in each image of a batch, in pixels of the original image.

        Args:
            data: A batch from mmcv's ``TestTimeAug``: ``inputs`` and ``data_samples`` are lists
                over views of lists over images. Samples need ``ori_shape``, ``img_shape``,
                ``scale_factor``, ``flip`` and ``flip_direction``.

        Raises:
            ValueError: The data have no views, or a sample lacks ``flip`` or ``flip_direction``.
        """
        samples = data["data_samples"]
        if isinstance(samples[0], DetDataSample):
            raise ValueError(
                "data must have views of each image: the test pipeline needs the transform"
                " TestTimeAug"
            )
        for name in ("flip", "flip_direction"):
            if any(name not in sample for view in samples for sample in view):
                raise ValueError(
                    f"the sample of each view must have {name!r}: put RandomFlip before"
                    f" PackDetInputs, and {name!r} into its meta_keys"
                )
        if not self.by_boxes:
            return super().test_step(data)
        views = [
            dict(inputs=inputs, data_samples=view)
            for inputs, view in zip(data["inputs"], samples, strict=True)
        ]
        return self._test_by_boxes(views)

    def merge_preds(self, data_samples_list: Sequence[Sequence[DetDataSample]]) -> SampleList:
        """Return a sample for each image, merged by vote from the image's samples of all views."""
        return [self._vote(samples) for samples in data_samples_list]

    def _vote(self, samples: Sequence[DetDataSample]) -> DetDataSample:
        found = []
        for sample in samples:
            own = sample.pred_instances
            if "masks" not in own:
                raise ValueError("module must predict masks, but predicts only boxes")
            masks = own.masks.flip(FLIPS[sample.flip_direction]) if sample.flip else own.masks
            encoded = EncodedMasks.encode(masks)
            # Detectors without boxes return zeros for boxes.
            without = (own.bboxes[:, 2:] <= own.bboxes[:, :2]).any(1, keepdim=True)
            boxes = torch.where(
                without,
                torch.from_numpy(encoded.boxes()).to(own.bboxes),
                _flipped(own.bboxes, sample.metainfo),
            )
            found.append(
                InstanceData(
                    bboxes=boxes, scores=own.scores, labels=own.labels.long(), masks=encoded
                )
            )
        device = found[0].bboxes.device
        everything = InstanceData.cat(found)
        rles = everything.masks.rles
        overlap = np.reshape(mask_util.iou(rles, rles, [0] * len(rles)), (len(rles), len(rles)))
        tight = torch.from_numpy(everything.masks.boxes()).to(everything.bboxes)
        bound_masks = torch.equal(tight, everything.bboxes)
        merged, groups = self._merged(found, overlap)
        weights = everything.scores.cpu().double().numpy()
        masks = vote_masks(everything.masks, weights, groups)
        if bound_masks:
            merged.bboxes = torch.from_numpy(masks.boxes()).to(merged.bboxes)
        merged.masks = masks.cpu().to(device)
        samples[0].pred_instances = merged
        return samples[0]

    def _merged(
        self, found: InstanceList, overlap: np.ndarray
    ) -> tuple[InstanceData, list[list[int]]]:
        """Return a detection for each group of the views' detections, and the groups."""
        everything = InstanceData.cat(
            [InstanceData(bboxes=f.bboxes, scores=f.scores, labels=f.labels) for f in found]
        )
        scores = everything.scores.cpu().double().numpy()
        views = np.repeat(np.arange(len(found)), [len(detections) for detections in found])
        groups = group_views(overlap, scores, everything.labels.cpu().numpy(), views, self.iou_thr)
        if self.scores == "mean":
            means = [scores[group].sum() / len(found) for group in groups]
        else:
            means = [scores[group[0]] for group in groups]
        order = np.argsort(-np.array(means), kind="stable")[: self.max_per_img]
        groups = [groups[place] for place in order]
        merged = everything[torch.tensor([group[0] for group in groups]).long()]
        merged.scores = merged.scores.new_tensor([means[place] for place in order])
        if self.boxes == "weighted":
            for number, group in enumerate(groups):
                if len(group) > 1:
                    weights = everything.scores[group][:, None]
                    total = (weights * everything.bboxes[group]).sum(0)
                    merged.bboxes[number] = total / weights.sum()
        return merged, groups

    def _test_by_boxes(self, views: list[dict]) -> SampleList:
        module, head = self.module, self.module.roi_head
        found: list[InstanceList] = []
        batches = []
        for view in views:
            batch = module.data_preprocessor(view, False)
            batches.append(batch)
            samples = batch["data_samples"]
            features = module.extract_feat(batch["inputs"])
            proposals = module.rpn_head.predict(features, samples, rescale=False)
            metas = [sample.metainfo for sample in samples]
            results = head.predict_bbox(features, metas, proposals, head.test_cfg, rescale=False)
            found.append(
                [
                    InstanceData(
                        bboxes=_flipped(own.bboxes / _scale(own.bboxes, meta), meta),
                        scores=own.scores,
                        labels=own.labels,
                    )
                    for own, meta in zip(results, metas, strict=True)
                ]
            )
        merged = []
        for of_image in zip(*found, strict=True):
            boxes = torch.cat([of_view.bboxes for of_view in of_image])
            overlap = bbox_overlaps(boxes, boxes).cpu().numpy()
            merged.append(self._merged(list(of_image), overlap)[0])
        samples = batches[0]["data_samples"]
        return module.add_pred_to_datasample(samples, self._predict_masks(batches, merged))

    def _predict_masks(self, batches: list[dict], merged: InstanceList) -> InstanceList:
        """Return the merged detections with masks from maps averaged over the views."""
        module, head = self.module, self.module.roi_head
        sums: list = []
        for batch in batches:
            metas = [sample.metainfo for sample in batch["data_samples"]]
            seen = []
            for own, meta in zip(merged, metas, strict=True):
                boxes = _flipped(own.bboxes, meta) * _scale(own.bboxes, meta)
                seen.append(InstanceData(bboxes=boxes, scores=own.scores, labels=own.labels))
            features = module.extract_feat(batch["inputs"])
            if not any(map(len, seen)):
                # mmdet's RoI head does not call its mask head for an empty batch.
                return head.predict_mask(features, metas, seen, rescale=True)
            maps = [
                map_fields(partial(self._upright, meta=meta), own)
                for own, meta in zip(_mask_maps(head, features, seen), metas, strict=True)
            ]
            if sums:
                maps = [map_fields(torch.add, *pair) for pair in zip(sums, maps, strict=True)]
            sums = maps
        means = [map_fields(partial(self._mean, count=len(batches)), total) for total in sums]
        originals = [
            dict(
                sample.metainfo,
                img_shape=sample.ori_shape,
                scale_factor=(1.0, 1.0),
                flip=False,
                flip_direction=None,
            )
            for sample in batches[0]["data_samples"]
        ]
        return head.mask_head.predict_by_feat(means, merged, originals, head.test_cfg, rescale=True)

    def _upright(self, maps: Tensor, meta: dict) -> Tensor:
        """Return a view's maps (n, ..., h, w), flipped back, in the form of the average."""
        maps = maps.float().sigmoid() if self.average == "sigmoid" else maps.float()
        return maps.flip(FLIPS[meta["flip_direction"]]) if meta["flip"] else maps

    def _mean(self, total: Tensor, count: int) -> Tensor:
        """Return the mean from the sum over ``count`` views, in the form of the mask head."""
        mean = total / count
        return mean.logit(eps=1e-6) if self.average == "sigmoid" else mean


def _predicts_masks_of_boxes(detector: nn.Module) -> bool:
    """Return whether the detector predicts boxes first, then their masks, with mmdet's methods."""
    head = getattr(detector, "roi_head", None)
    return (
        isinstance(detector, TwoStageDetector)
        and type(detector).predict is TwoStageDetector.predict
        and detector.with_rpn
        and isinstance(head, StandardRoIHead)
        and type(head).predict is BaseRoIHead.predict
        and (hasattr(head, "mask_maps") or type(head).predict_mask is StandardRoIHead.predict_mask)
        and isinstance(getattr(head, "mask_head", None), FCNMaskHead)
    )


def _mask_maps(head: StandardRoIHead, features: tuple[Tensor, ...], seen: InstanceList) -> list:
    """Return the mask head's result for the boxes of each image, before masks are pasted."""
    if hasattr(head, "mask_maps"):
        return head.mask_maps(features, seen)
    rois = bbox2roi([instances.bboxes for instances in seen])
    maps = head._mask_forward(features, rois)["mask_preds"]
    return split_rois(maps, [len(instances) for instances in seen])


def _scale(boxes: Tensor, meta: dict) -> Tensor:
    return boxes.new_tensor(meta["scale_factor"]).repeat(2)


def _flipped(boxes: Tensor, meta: dict) -> Tensor:
    """Flip boxes from the original image to the flipped view, or back."""
    if not meta["flip"]:
        return boxes
    return bbox_flip(boxes, meta["ori_shape"], meta["flip_direction"])
