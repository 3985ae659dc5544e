from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch.nn.functional as F
from mmdet.models.dense_heads.rtmdet_ins_head import RTMDetInsSepBNHead
from mmdet.models.utils import unpack_gt_instances
from mmdet.structures import SampleList
from mmdet.structures.mask import BitmapMasks
from mmdet.utils import InstanceList, OptConfigType, OptInstanceList
from mmengine.model import BaseModule
from mmengine.structures import InstanceData
from torch import Tensor

from mmlevelset.models.box_levelset.supervision import masks_unless_empty
from mmlevelset.models.common import ImageFeatures, images_of
from mmlevelset.registry import MODELS

DETECTOR = "mmlevelset.BoxRTMDet"


class MaskInputs(NamedTuple):
    """What the masks of an image are made from.

    Attributes:
        features: The mask features (C, h, w).
        image: The normalised image (3, H, W).
    """

    features: Tensor
    image: Tensor


class PositiveMasks(NamedTuple):
    """The masks of the positive cells of a batch.

    Attributes:
        logits: (K, h, w) for each image, at the resolution of the mask features.
        objects: The index (K,) of each mask's object, for each image.
        loss: mmdet's loss of true masks, where true masks alone supervise.
    """

    logits: list[Tensor]
    objects: list[Tensor]
    loss: Tensor | None


@MODELS.register_module()
class BoxRTMDetInsHead(RTMDetInsSepBNHead):
    """RTMDet-Ins's head (Lyu et al. 2022), trained by boxes.

    The masks of the positive cells have the losses of :class:`BoxSupervision`, at ``image size /
    mask_loss_stride``, in place of ``loss_mask``. With ``supervision="mask"`` the head is mmdet's.
    Classes, boxes and inference are mmdet's. An image with an object without a mask assigns its
    cells by the centres of boxes, as mmdet's RTMDet does, not by the masks' centres of mass.

    Args:
        *args: Arguments of :class:`mmdet.models.RTMDetInsSepBNHead`.
        box_supervision: Arguments of :class:`BoxSupervision`; ``in_channels`` is set from the mask
            features, and ``loss_mask`` is the head's.
        refinement: Config of ``mmlevelset.CropRefinement``, or None; ``in_channels`` is set from
            the mask features'. Refined masks have the same losses as the other masks, named
            ``*_refined``, and replace them in inference.
        **kwargs: Arguments of :class:`mmdet.models.RTMDetInsSepBNHead`.
    """

    def __init__(
        self,
        *args: Any,
        box_supervision: OptConfigType = None,
        refinement: OptConfigType = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        features = dict(in_channels=self.num_prototypes)
        self.box_supervision = MODELS.build(
            dict(type="mmlevelset.BoxSupervision", loss_mask=self.loss_mask)
            | features
            | dict(box_supervision or {})
        )
        self.refinement: BaseModule | None = None
        if refinement is not None:
            self.refinement = MODELS.build({**features, **refinement})

    def init_weights(self) -> None:
        """Set the initial weights; mmdet's start of all convolutions is not the refinement's."""
        super().init_weights()
        if self.refinement is not None:
            self.refinement.init_weights()

    def loss(self, x: ImageFeatures, batch_data_samples: SampleList) -> dict:
        """Losses of a batch.

        Args:
            x: The neck's features, each (B, C, H', W'), with the normalised images (B, 3, H, W).
            batch_data_samples: Boxes and labels; masks only if they supervise.
        """
        instances, ignored, metas = unpack_gt_instances(batch_data_samples)
        self.box_supervision.require_masks(instances)
        images = images_of(x, DETECTOR)
        scores, boxes, kernels, mask_feat = self(x)
        return self.loss_by_feat(
            scores, boxes, kernels, mask_feat, instances, metas, ignored, images=images
        )

    def loss_by_feat(
        self,
        cls_scores: list[Tensor],
        bbox_preds: list[Tensor],
        kernel_preds: list[Tensor],
        mask_feat: Tensor,
        batch_gt_instances: InstanceList,
        batch_img_metas: list[dict],
        batch_gt_instances_ignore: OptInstanceList = None,
        *,
        images: Tensor,
    ) -> dict:
        """Return mmdet's losses; those of the masks are :class:`BoxSupervision`'s."""
        losses = super().loss_by_feat(
            cls_scores,
            bbox_preds,
            kernel_preds,
            mask_feat,
            [self._truth(own) for own in batch_gt_instances],
            batch_img_metas,
            batch_gt_instances_ignore,
        )
        found: PositiveMasks = losses.pop("loss_mask")
        supervise = self.box_supervision
        given = batch_gt_instances, batch_img_metas, images, mask_feat
        if found.loss is None:
            losses.update(supervise(self._large(found.logits, images), found.objects, *given))
        else:
            losses["loss_mask"] = found.loss
        if self.refinement is not None:
            refined = [
                self.refinement(logits, image, features)
                for logits, image, features in zip(found.logits, images, mask_feat, strict=True)
            ]
            refined = supervise(self._large(refined, images), found.objects, *given)
            losses.update({f"{name}_refined": value for name, value in refined.items()})
        return losses

    def get_targets(
        self,
        cls_scores: Tensor,
        bbox_preds: Tensor,
        anchor_list: list,
        valid_flag_list: list,
        batch_gt_instances: InstanceList,
        *args: Any,
        **kwargs: Any,
    ) -> tuple | None:
        batch_gt_instances = [masks_unless_empty(own) for own in batch_gt_instances]
        return super().get_targets(
            cls_scores,
            bbox_preds,
            anchor_list,
            valid_flag_list,
            batch_gt_instances,
            *args,
            **kwargs,
        )

    def loss_mask_by_feat(
        self,
        mask_feats: Tensor,
        flatten_kernels: Tensor,
        sampling_results_list: list,
        batch_gt_instances: InstanceList,
    ) -> PositiveMasks:
        """Return the positive masks, and mmdet's loss where true masks alone supervise."""
        loss = None
        if self.box_supervision.supervision == "mask":
            loss = super().loss_mask_by_feat(
                mask_feats, flatten_kernels, sampling_results_list, batch_gt_instances
            )
        logits, objects = [], []
        if loss is None or self.refinement is not None:
            for features, kernels, sampled in zip(
                mask_feats, flatten_kernels, sampling_results_list, strict=True
            ):
                chosen = kernels[sampled.pos_inds]
                # Without positives, the losses still depend on all predictions: distributed
                # training waits for their gradients.
                own = (kernels[:0].sum() + features[:0].sum()).expand(0, *features.shape[1:])
                if len(chosen):
                    priors = sampled.pos_priors
                    own = self._mask_predict_by_feat_single(features, chosen, priors)
                logits.append(own)
                objects.append(sampled.pos_assigned_gt_inds)
        return PositiveMasks(logits, objects, loss)

    def predict(
        self, x: Sequence[Tensor], batch_data_samples: SampleList, rescale: bool = False
    ) -> InstanceList:
        """Return mmdet's results; with a refinement, ``x`` must be :class:`ImageFeatures`."""
        if self.refinement is None:
            return super().predict(x, batch_data_samples, rescale)
        *predictions, mask_feat = self(x)
        inputs = list(map(MaskInputs, mask_feat, images_of(x, DETECTOR)))
        metas = [sample.metainfo for sample in batch_data_samples]
        return self.predict_by_feat(*predictions, inputs, batch_img_metas=metas, rescale=rescale)

    def _mask_predict_by_feat_single(
        self, mask_feat: Tensor | MaskInputs, kernels: Tensor, priors: Tensor
    ) -> Tensor:
        if not isinstance(mask_feat, MaskInputs):
            return super()._mask_predict_by_feat_single(mask_feat, kernels, priors)
        assert self.refinement is not None
        logits = super()._mask_predict_by_feat_single(mask_feat.features, kernels, priors)
        return self.refinement(logits, mask_feat.image, mask_feat.features)

    def _truth(self, own: InstanceData) -> InstanceData:
        """A copy of an image's objects; where boxes alone supervise, with masks of no pixels."""
        if self.box_supervision.supervision == "box":
            masks = BitmapMasks(np.zeros((len(own.bboxes), 1, 1), dtype=np.uint8), 1, 1)
        else:
            masks = own.masks
        return InstanceData(bboxes=own.bboxes, labels=own.labels, masks=masks)

    def _large(self, logits: Sequence[Tensor], images: Tensor) -> list[Tensor]:
        """The masks at the size of their loss."""
        size = [side // self.mask_loss_stride for side in images.shape[2:]]
        return [
            F.interpolate(own[None], size, mode="bilinear", align_corners=False)[0]
            if len(own)
            else own
            for own in logits
        ]
