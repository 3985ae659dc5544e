from typing import Any

import torch
from mmdet.models.dense_heads import CondInstBboxHead, CondInstMaskHead
from mmdet.models.utils import unpack_gt_instances
from mmdet.structures import SampleList
from mmdet.utils import InstanceList, OptConfigType, OptInstanceList
from mmengine.structures import InstanceData
from torch import Tensor

from mmlevelset.models.box_levelset.supervision import masks_unless_empty
from mmlevelset.models.common import ImageFeatures, images_of
from mmlevelset.registry import MODELS

DETECTOR = "mmlevelset.BoxCondInst"


@MODELS.register_module()
class BoxCondInstBboxHead(CondInstBboxHead):
    """CondInst's head of boxes for objects of which some have no mask.

    An image with such an object assigns its points by the centres of boxes. Otherwise the head is
    mmdet's, which takes the masks' centres of mass if there are masks.
    """

    def get_targets(self, points: list[Tensor], batch_gt_instances: InstanceList) -> tuple:
        """Return mmdet's targets."""
        return super().get_targets(points, [masks_unless_empty(own) for own in batch_gt_instances])


@MODELS.register_module()
class BoxCondInstHead(CondInstMaskHead):
    """CondInst's mask head (Tian et al. 2020), trained by boxes.

    With the projection and :class:`BoxPairwiseLoss` it is BoxInst (Tian et al. 2021). The masks of
    the positive points have the losses of :class:`BoxSupervision`. With ``supervision="mask"`` the
    head is mmdet's. Inference is mmdet's.

    Args:
        *args: Arguments of :class:`mmdet.models.CondInstMaskHead`.
        box_supervision: Arguments of :class:`BoxSupervision`; ``in_channels`` is set from the mask
            features, and ``loss_mask`` is the head's.
        **kwargs: Arguments of :class:`mmdet.models.CondInstMaskHead`.
    """

    def __init__(self, *args: Any, box_supervision: OptConfigType = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.box_supervision = MODELS.build(
            dict(
                type="mmlevelset.BoxSupervision",
                in_channels=self.in_channels,
                loss_mask=self.loss_mask,
            )
            | dict(box_supervision or {})
        )

    def loss(
        self,
        x: ImageFeatures,
        batch_data_samples: SampleList,
        positive_infos: OptInstanceList = None,
        **kwargs: Any,
    ) -> dict:
        """Losses of the masks of a batch.

        Args:
            x: FPN's features, each (B, C, H', W'), with the normalised images (B, 3, H, W).
            batch_data_samples: Boxes and labels; masks only if they supervise.
            positive_infos: The positive points of each image, of mmdet's ``CondInstBboxHead``.
            **kwargs: Arguments of mmdet.
        """
        instances, _, metas = unpack_gt_instances(batch_data_samples)
        self.box_supervision.require_masks(instances)
        if self.box_supervision.supervision == "mask":
            return super().loss(x, batch_data_samples, positive_infos, **kwargs)
        assert positive_infos is not None
        images = images_of(x, DETECTOR)
        features = self.mask_feature_head(x)
        chosen = [self._chosen(own) for own in positive_infos]
        logits = [self._logits(*pair) for pair in zip(features, chosen, strict=True)]
        objects = [own.pos_assigned_gt_inds for own in chosen]
        return self.box_supervision(logits, objects, instances, metas, images, features)

    def _chosen(self, points: InstanceData) -> InstanceData:
        """Return the points whose masks are trained, by the limits of mmdet's head."""
        objects = points.pos_assigned_gt_inds
        if 0 <= self.max_masks_to_train < len(objects):
            order = torch.randperm(len(objects), device=objects.device)
            return points[order[: self.max_masks_to_train]]
        if self.topk_masks_per_img == -1 or len(objects) == 0:
            return points
        # Each object has its best points, and at least one.
        different = objects.unique()
        count = max(self.topk_masks_per_img // len(different), 1)
        quality = points.scores.sigmoid().amax(1) * points.centernesses.sigmoid().flatten()
        order = quality.argsort(descending=True)
        return points[torch.cat([order[objects[order] == one][:count] for one in different])]

    def _logits(self, features: Tensor, points: InstanceData) -> Tensor:
        if len(points.param_preds):
            return self.forward_single(features, points)[0]
        # The losses of no masks still depend on all predictions.
        nothing = points.param_preds.sum() + features[:0].sum()
        return nothing.expand(0, *features.shape[1:])
