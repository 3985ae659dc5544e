from collections.abc import Sequence
from inspect import signature
from types import SimpleNamespace
from typing import Any, NamedTuple

import torch
from mmdet.models.dense_heads import Mask2FormerHead
from mmdet.models.utils import unpack_gt_instances
from mmdet.registry import TASK_UTILS
from mmdet.structures import SampleList
from mmdet.utils import ConfigType, InstanceList, OptConfigType
from mmengine.structures import InstanceData
from torch import Tensor, nn

from mmlevelset.models.box_levelset.supervision import BoxSupervision
from mmlevelset.models.box_levelset.targets import box_masks
from mmlevelset.models.common import ImageFeatures, images_of
from mmlevelset.registry import MODELS

DETECTOR = "mmlevelset.BoxMask2Former"
BOX_ASSIGNER = dict(
    type="HungarianAssigner",
    match_costs=[
        dict(type="ClassificationCost", weight=2.0),
        dict(type="mmlevelset.BoxProjectionCost", weight=5.0),
    ],
)


class Matched(NamedTuple):
    """The objects of an image, and the queries that a decoder layer finds them with.

    Attributes:
        labels: Classes of the G objects (G,).
        masks: The true masks (G, H, W), bool; (G, 1, 1) where boxes alone supervise.
        queries: The matched queries (K,), in rising order.
        objects: The object (K,) of each of them.
    """

    labels: Tensor
    masks: Tensor
    queries: Tensor
    objects: Tensor


class Predictions(NamedTuple):
    """The predictions of all decoder layers.

    Attributes:
        scores: Logits of the classes (B, Q, classes + 1) of each layer.
        masks: Logits of the masks (B, Q, h, w) of each layer.
        features: The mask features (B, C, h, w).
    """

    scores: list[Tensor]
    masks: list[Tensor]
    features: Tensor


@MODELS.register_module()
class BoxMask2FormerHead(Mask2FormerHead):
    """Mask2Former's head (Cheng et al. 2022), trained by boxes: Box2Mask-T (Li et al. 2024).

    Queries are matched with objects by the class and by the projections of the mask and the box.
    The matched masks of all decoder layers have the losses of :class:`BoxSupervision`; all layers
    share the trees of an image. In ``mixed`` supervision an object with a mask has mmdet's losses
    ``loss_mask`` and ``loss_dice`` instead. With ``supervision="mask"`` the head is mmdet's, with
    the assigner of ``train_cfg``. Classes and inference are mmdet's.

    Args:
        *args: Arguments of :class:`mmdet.models.Mask2FormerHead`.
        box_supervision: Arguments of :class:`BoxSupervision`; ``in_channels`` is set from the mask
            features. Its ``loss_mask`` is a loss of refined masks alone.
        box_assigner: Assigner of masks to boxes.
        refinement: Config of ``mmlevelset.CropRefinement``, or None; ``in_channels`` is set from
            the mask features'. The refined masks of the last layer have losses of
            :class:`BoxSupervision`, named ``*_refined``, and replace the masks in inference.
        **kwargs: Arguments of :class:`mmdet.models.Mask2FormerHead`; ``num_stuff_classes`` is 0.

    Raises:
        ValueError: There are classes of stuff; or an argument of :class:`BoxSupervision` stands
            outside ``box_supervision``, where mmdet would not see it.
    """

    def __init__(
        self,
        *args: Any,
        box_supervision: OptConfigType = None,
        box_assigner: ConfigType = BOX_ASSIGNER,
        refinement: OptConfigType = None,
        **kwargs: Any,
    ) -> None:
        own = signature(BoxSupervision).parameters.keys()
        misplaced = (own & kwargs.keys()) - signature(Mask2FormerHead).parameters.keys()
        if misplaced:
            raise ValueError(
                f"{', '.join(sorted(misplaced))} must stand in box_supervision, but is an argument"
                " of the head"
            )
        super().__init__(*args, **kwargs)
        if self.num_stuff_classes:
            raise ValueError(
                "num_stuff_classes must be 0, since stuff has no boxes, but is"
                f" {self.num_stuff_classes}"
            )
        features = dict(in_channels=self.mask_embed[-1].out_features)
        self.box_supervision = MODELS.build(
            dict(type="mmlevelset.BoxSupervision") | features | dict(box_supervision or {})
        )
        self.box_assigner = TASK_UTILS.build(box_assigner)
        self.refinement: nn.Module | None = None
        if refinement is not None:
            self.refinement = MODELS.build({**features, **refinement})

    def forward(
        self, x: Sequence[Tensor], batch_data_samples: SampleList
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Return mmdet's predictions; in inference the masks of the last layer are refined."""
        found = self._predictions(x, batch_data_samples)
        masks = found.masks
        if self.refinement is not None and not self.training:
            inputs = zip(masks[-1], images_of(x, DETECTOR), found.features, strict=True)
            masks = [*masks[:-1], torch.stack([self.refinement(*own) for own in inputs])]
        return found.scores, masks

    def _predictions(self, x: Sequence[Tensor], batch_data_samples: SampleList) -> Predictions:
        features: list[Tensor] = []
        hook = self.pixel_decoder.register_forward_hook(
            lambda module, inputs, output: features.append(output[0])
        )
        try:
            scores, masks = super().forward(x, batch_data_samples)
        finally:
            hook.remove()
        return Predictions(scores, masks, features[0])

    def loss(self, x: ImageFeatures, batch_data_samples: SampleList) -> dict[str, Tensor]:
        """Losses of a batch.

        Args:
            x: The backbone's features, each (B, C, H', W'), with the normalised images
                (B, 3, H, W).
            batch_data_samples: Boxes and labels; masks only if they supervise.
        """
        images = images_of(x, DETECTOR)
        instances, _, metas = unpack_gt_instances(batch_data_samples)
        found = self._predictions(x, batch_data_samples)
        supervise = self.box_supervision
        layers, losses = [], {}
        for number, (scores, masks) in enumerate(zip(found.scores, found.masks, strict=True)):
            matched = [
                self._match(*own)
                for own in zip(scores, masks, instances, metas, images, strict=True)
            ]
            own = self._loss_by_feat_single(scores, masks, matched, metas)
            own = dict(zip(("loss_cls", "loss_mask", "loss_dice"), own, strict=True))
            if supervise.supervision == "box":
                own = dict(loss_cls=own["loss_cls"])
            losses.update({_name(key, number, found): value for key, value in own.items()})
            layers.append(matched)
        if supervise.supervision != "mask":
            losses.update(self._box_losses(found, layers, instances, metas, images))
        if self.refinement is not None:
            queries = [own.queries for own in layers[-1]]
            inputs = zip(found.masks[-1], queries, images, found.features, strict=True)
            refined = [
                self.refinement(masks[own], image, features)
                for masks, own, image, features in inputs
            ]
            objects = [own.objects for own in layers[-1]]
            given = supervise(refined, objects, instances, metas, images, found.features)
            losses.update({f"{name}_refined": value for name, value in given.items()})
        return losses

    def _box_losses(
        self,
        found: Predictions,
        layers: list[list[Matched]],
        instances: InstanceList,
        metas: list[dict],
        images: Tensor,
    ) -> dict[str, Tensor]:
        """Losses of the matched masks of all layers by the boxes."""
        supervise = self.box_supervision
        parts: list[list] = [[] for _ in layers]
        with torch.autocast(images.device.type, enabled=False):
            deep = supervise.deep_features(found.features)
            for index, (truth, image) in enumerate(zip(instances, images, strict=True)):
                matched = [layer[index] for layer in layers]
                logits = [
                    masks[index, own.queries]
                    for masks, own in zip(found.masks, matched, strict=True)
                ]
                losses = supervise.of_image(
                    torch.cat(logits),
                    truth.bboxes,
                    image,
                    None if deep is None else deep[index],
                    metas[index]["img_shape"],
                    torch.cat([own.objects for own in matched]),
                    None if supervise.supervision == "box" else matched[0].masks,
                )
                end = 0
                for part, own in zip(parts, logits, strict=True):
                    part.append(losses.part(slice(end, end + len(own))))
                    end += len(own)
            return {
                _name(name, number, found): value
                for number, part in enumerate(parts)
                for name, value in supervise.means(part).items()
                if name != "loss_mask"  # mmdet's stands for it
            }

    def _match(
        self, scores: Tensor, masks: Tensor, truth: InstanceData, meta: dict, image: Tensor
    ) -> Matched:
        """Match the queries of a layer for one image with its objects."""
        true_masks = self.box_supervision.true_masks(truth, image)
        if self.box_supervision.supervision == "mask":
            own = InstanceData(labels=truth.labels, masks=true_masks)
            *_, result = super()._get_targets_single(scores, masks, own, meta)
            return Matched(truth.labels, true_masks, result.pos_inds, result.pos_assigned_gt_inds)
        boxes = box_masks(truth.bboxes, masks.shape[1:], image.shape[1:])
        result = self.box_assigner.assign(
            InstanceData(scores=scores, masks=masks),
            InstanceData(labels=truth.labels, masks=boxes),
            meta,
        )
        queries = (result.gt_inds > 0).nonzero()[:, 0]
        if true_masks is None:
            true_masks = truth.labels.new_zeros((len(truth.labels), 1, 1), dtype=torch.bool)
        return Matched(truth.labels, true_masks, queries, result.gt_inds[queries] - 1)

    def _get_targets_single(
        self, cls_score: Tensor, mask_pred: Tensor, gt_instances: Matched, img_meta: dict
    ) -> tuple:
        """Return mmdet's targets; a matched query without a true mask has none of its mask."""
        labels, masks, queries, objects = gt_instances
        targets = labels.new_full((len(cls_score),), self.num_classes, dtype=torch.long)
        targets[queries] = labels[objects].long()
        has_mask = masks[objects].flatten(1).any(1)
        if self.box_supervision.supervision == "mask":
            has_mask[:] = True
        weights = mask_pred.new_zeros(len(cls_score))
        weights[queries[has_mask]] = 1
        others = (targets == self.num_classes).nonzero()[:, 0]
        sampled = SimpleNamespace(avg_factor=max(len(queries), 1))
        ones = labels.new_ones(len(cls_score))
        return targets, ones, masks[objects[has_mask]].long(), weights, queries, others, sampled


def _name(name: str, layer: int, found: Predictions) -> str:
    """The name of a layer's loss, as in mmdet: the last layer's has no prefix."""
    return name if layer == len(found.masks) - 1 else f"d{layer}.{name}"
