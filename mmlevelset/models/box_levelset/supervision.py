"""Losses of masks by the boxes of their objects, for any head that predicts masks."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from mmdet.registry import MODELS as MMDET_MODELS
from mmdet.utils import ConfigType, OptConfigType
from mmengine.model import BaseModule
from mmengine.structures import InstanceData
from torch import Tensor, nn

from mmlevelset.models.box_levelset.lab import LabImage
from mmlevelset.models.box_levelset.level_set_loss import Masks
from mmlevelset.models.box_levelset.targets import box_masks
from mmlevelset.models.common import check_choice, check_not_negative, mean_count, warmup_share
from mmlevelset.ops.checks import check_shape
from mmlevelset.registry import MODELS

LOSSES = ("loss_mask", "loss_projection", "loss_level_set", "loss_consistency", "loss_pairwise")


class MaskLosses(NamedTuple):
    """The losses of K masks.

    Attributes:
        values: Name of a loss -> the value of each mask (K,).
        counts: The same names -> what each mask counts in the mean (K,): 1, the pixels of its box,
            or its edges.
    """

    values: dict[str, Tensor]
    counts: dict[str, Tensor]

    def part(self, window: slice) -> "MaskLosses":
        """Return the losses of some of the masks."""
        values, counts = ({k: v[window] for k, v in own.items()} for own in self)
        return MaskLosses(values, counts)


@MODELS.register_module()
class BoxSupervision(BaseModule):
    """Losses that train the masks of any head by boxes.

    A head gives the logits of its positive masks, the objects that they belong to, the normalised
    images and a feature map. Masks are sigmoids of the logits, which are level sets. The losses are
    ``loss_projection``, ``loss_level_set``, ``loss_consistency`` and ``loss_pairwise``; and
    ``loss_mask`` of the objects that have a true mask.

    Args:
        in_channels: Channels of the feature map; not needed if no loss reads it.
        supervision: ``box``: boxes alone; ``mask``: true masks, by ``loss_mask`` alone; ``mixed``:
            the true mask of an object, or its box if the mask is empty.
        warmup_iters: Iterations of mmengine's runner before all losses of boxes but the projection
            begin. Here and in the pairwise loss a warm-up without a runner is an error.
        loss_mask: Loss of logits and true masks (K, H, W) that takes ``reduction_override``, as
            mmdet's DiceLoss; its config, or the loss itself. None with ``box`` alone.
        loss_projection: Losses (K,) of scores and box masks (K, H, W).
        loss_level_set: :class:`BoxLevelSetLoss`, or None.
        loss_consistency: :class:`LocalConsistencyLoss`, or None.
        loss_pairwise: :class:`BoxPairwiseLoss`, or None. A ``loss_weight`` of 0 is as None, here
            and in ``loss_consistency``.
        image_mean: Mean of each channel that the data preprocessor has subtracted; needed for
            losses of L*a*b*. Our detectors give it, as well as the next two.
        image_std: The divisor of each channel.
        image_bgr: The channels of the images are B, G, R; otherwise R, G, B.
        init_cfg: mmengine's.

    Raises:
        ValueError: An argument is out of its range.
    """

    def __init__(
        self,
        in_channels: int | None = None,
        supervision: str = "box",
        warmup_iters: int = 0,
        loss_mask: OptConfigType | nn.Module = dict(
            type="DiceLoss", use_sigmoid=True, loss_weight=3.0
        ),
        loss_projection: ConfigType = dict(type="mmlevelset.BoxProjectionLoss"),
        loss_level_set: OptConfigType = dict(type="mmlevelset.BoxLevelSetLoss"),
        loss_consistency: OptConfigType = None,
        loss_pairwise: OptConfigType = None,
        image_mean: Sequence[float] | None = None,
        image_std: Sequence[float] | None = None,
        image_bgr: bool = False,
        init_cfg: dict | Sequence[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        check_choice("supervision", supervision, ("box", "mask", "mixed"))
        check_not_negative(warmup_iters=warmup_iters)
        self.supervision = supervision
        self.warmup_iters = warmup_iters
        if loss_mask is None and supervision != "box":
            raise ValueError(f"loss_mask must be given with supervision={supervision!r}")
        given = loss_mask is None or isinstance(loss_mask, nn.Module)
        self.loss_mask = loss_mask if given else MMDET_MODELS.build(loss_mask)
        self.loss_projection = MODELS.build(loss_projection)
        self.loss_level_set = self.loss_consistency = self.loss_pairwise = None
        self.lab_image: LabImage | None = None
        if supervision == "mask":
            return
        if loss_level_set is not None:
            energy = {"in_channels": in_channels, **loss_level_set}
            if energy["in_channels"] is None and energy.get("feature_weight") != 0:
                raise ValueError(
                    "in_channels must be the channels of the features, which loss_level_set reads"
                    " unless its feature_weight is 0, but is None"
                )
            self.loss_level_set = MODELS.build(energy)
        if _is_on(loss_consistency):
            self.loss_consistency = MODELS.build(loss_consistency)
        if _is_on(loss_pairwise):
            self.loss_pairwise = MODELS.build(loss_pairwise)
        if self.loss_pairwise is not None or (
            self.loss_level_set is not None and self.loss_level_set.image_space == "lab"
        ):
            self.lab_image = LabImage(image_mean, image_std, image_bgr)

    @property
    def names(self) -> list[str]:
        """The names of the losses."""
        unused = dict(box="loss_mask", mask="loss_projection").get(self.supervision)
        return [name for name in LOSSES if name != unused and getattr(self, name) is not None]

    def forward(
        self,
        logits: Sequence[Tensor],
        objects: Sequence[Tensor],
        instances: Sequence[InstanceData],
        metas: Sequence[dict],
        images: Tensor,
        features: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Return the losses of a batch, float32 scalars, means over the masks of all processes.

        The consistency is a mean over the pixels of the masks' boxes, the pairwise loss over the
        edges. Without masks, the losses are 0 and their gradients are finite.

        Args:
            logits: The masks (K, H, W) of each image, at any resolution.
            objects: The index (K,) of each mask's object, for each image.
            instances: The objects of each image: ``bboxes`` (G, 4) in pixels of ``images``, and
                ``masks`` unless the supervision is ``box``.
            metas: ``img_shape`` of each image: rows and columns without padding.
            images: The normalised images (B, 3, H', W'); they cover what the masks cover.
            features: A feature map (B, C, h, w), for ``loss_level_set`` with deep features.
        """
        with torch.autocast(images.device.type, enabled=False):
            deep = self.deep_features(features)
            parts = [
                self.of_image(
                    own,
                    _tensor(truth.bboxes),
                    image,
                    None if deep is None else deep[index],
                    meta["img_shape"],
                    belongs,
                    self.true_masks(truth, image),
                )
                for index, (own, belongs, truth, meta, image) in enumerate(
                    zip(logits, objects, instances, metas, images, strict=True)
                )
            ]
            return self.means(parts)

    def deep_features(self, features: Tensor | None) -> Tensor | None:
        """Return the maps of the energy (B, C', h, w) of a feature map; None: it needs none.

        Raises:
            ValueError: The energy needs the features, and they are None.
        """
        if self.loss_level_set is None or self.loss_level_set.feature_conv is None:
            return None
        if features is None:
            raise ValueError("features must be a map (B, C, h, w) for loss_level_set, but are None")
        return self.loss_level_set.deep_features(features.float())

    def true_masks(self, truth: InstanceData, image: Tensor) -> Tensor | None:
        """Return the masks of an image's objects (G, H, W), bool, on the padded image.

        None if boxes alone supervise.

        Raises:
            ValueError: The objects have no masks.
        """
        if self.supervision == "box":
            return None
        self.require_masks([truth])
        if isinstance(truth.masks, Tensor):
            return truth.masks.bool()
        return truth.masks.pad(image.shape[1:]).to_tensor(torch.bool, image.device)

    def require_masks(self, instances: Sequence[InstanceData]) -> None:
        """Raise ValueError if masks supervise and the objects of an image have none."""
        if self.supervision != "box" and not all("masks" in truth for truth in instances):
            raise ValueError(
                f"the objects must have masks with supervision={self.supervision!r}: load them in"
                " the training pipeline"
            )

    def of_image(
        self,
        logits: Tensor,
        boxes: Tensor,
        image: Tensor,
        deep: Tensor | None,
        img_shape: Sequence[int],
        objects: Tensor | None = None,
        masks: Tensor | None = None,
    ) -> MaskLosses:
        """Return the losses of each mask of an image; 0 for a mask without that loss.

        Args:
            logits: The masks (K, H, W), float32 or float64.
            boxes: The boxes (G, 4) of the objects in pixels of ``image``.
            image: The normalised image (3, H', W'), with padding.
            deep: The image's part (C, h, w) of :meth:`deep_features`.
            img_shape: Rows and columns of the image without padding.
            objects: The index (K,) of each mask's object. None: mask k is of object k.
            masks: The true masks (G, H', W'), bool; all zero where an object has none.

        Raises:
            ValueError: A shape does not fit.
        """
        check_shape("logits", logits, ("K", "H", "W"))
        check_shape("boxes", boxes, ("G", 4))
        check_shape("image", image, (3, "H'", "W'"))
        if objects is None:
            objects = torch.arange(len(logits), device=logits.device)
        check_shape("objects", objects, (len(logits),))
        if masks is not None:
            check_shape("masks", masks, (len(boxes), *image.shape[1:]))
        logits = logits.float() if logits.element_size() < 4 else logits
        image = image.to(logits)
        nothing = logits[:, :0].sum((1, 2))  # of no pixels, so that it is 0 for all logits
        values = dict.fromkeys(self.names, nothing)
        ones = torch.ones_like(nothing)
        counts = dict.fromkeys(self.names, ones)
        counts.update(
            (name, 0 * ones) for name in ("loss_consistency", "loss_pairwise") if name in counts
        )
        if deep is not None:
            values["loss_level_set"] = values["loss_level_set"] + deep[:0].sum()
        if len(logits) == 0:
            return MaskLosses(values, counts)
        by_box = torch.ones_like(nothing, dtype=torch.bool)
        if masks is not None:
            used, inverse = objects.unique(return_inverse=True)
            has_mask = masks[used].flatten(1).any(1)[inverse]
            targets = _shrunk(masks[used], logits.shape[1:])[inverse]
            own = self.loss_mask(logits, targets, reduction_override="none")
            values["loss_mask"] = torch.where(has_mask, own, 0)
            by_box = ~has_mask
        if self.supervision == "mask" or not by_box.any():
            return MaskLosses(values, counts)
        if not by_box.all():
            logits, objects = logits[by_box], objects[by_box]
        found = self._by_boxes(logits, boxes[objects], image, deep, img_shape)
        for own, new in zip((values, counts), found, strict=True):
            for name, value in new.items():
                own[name] = own[name].masked_scatter(by_box, value)
        return MaskLosses(values, counts)

    def means(self, parts: Iterable[MaskLosses]) -> dict[str, Tensor]:
        """Return the means over all masks of all parts and of all processes.

        All processes must call this together, each with at least one part.
        """
        values: dict[str, Tensor] = {}
        counts: dict[str, Tensor] = {}
        for part in parts:
            for totals, own in ((values, part.values), (counts, part.counts)):
                for name, value in own.items():
                    totals[name] = totals.get(name, 0) + value.sum()
        divisors = mean_count(torch.stack(list(counts.values()))).unbind()
        return {
            name: value / divisor
            for (name, value), divisor in zip(values.items(), divisors, strict=True)
        }

    def _by_boxes(
        self,
        logits: Tensor,
        boxes: Tensor,
        image: Tensor,
        deep: Tensor | None,
        img_shape: Sequence[int],
    ) -> MaskLosses:
        """Losses of masks (K, H, W), K > 0, by their boxes (K, 4)."""
        scores, size = logits.sigmoid(), logits.shape[1:]
        inside = box_masks(boxes, size, image.shape[1:])
        values = dict(loss_projection=self.loss_projection(scores, inside))
        counts: dict[str, Tensor] = {}
        if warmup_share(self.warmup_iters) < 1:
            return MaskLosses(values, counts)
        rows, columns = (
            max(round(own * now / padded), 1)
            for own, now, padded in zip(img_shape, size, image.shape[1:], strict=False)
        )
        small = F.interpolate(image[None], size, mode="bilinear", align_corners=False)[0]
        if self.loss_level_set is not None:
            domain = inside
            if self.loss_level_set.domain == "image":
                domain = torch.zeros_like(inside)
                domain[:, :rows, :columns] = True
            lab = None
            if self.loss_level_set.image_space == "lab":
                assert self.lab_image is not None
                lab = self.lab_image(small, rows, columns)
            own = Masks(scores, domain, small, deep, lab)
            values["loss_level_set"] = self.loss_level_set(own)
        if self.loss_consistency is not None:
            values["loss_consistency"] = self.loss_consistency(scores, inside, small)
            counts["loss_consistency"] = inside.sum((1, 2)).to(scores)
        if self.loss_pairwise is not None:
            assert self.lab_image is not None
            # BoxInst averages the pixels under a pixel of the mask.
            average = F.interpolate(image[None], size, mode="area")[0]
            lab = self.lab_image.colours(average)[:, :rows, :columns]
            loss, counts["loss_pairwise"] = self.loss_pairwise(logits, inside, lab)
            values["loss_pairwise"] = warmup_share(self.loss_pairwise.warmup_iters) * loss
        return MaskLosses(values, counts)


def _is_on(loss: OptConfigType) -> bool:
    return loss is not None and loss.get("loss_weight") != 0


def _tensor(boxes) -> Tensor:
    return getattr(boxes, "tensor", boxes)


def _shrunk(masks: Tensor, size: Sequence[int]) -> Tensor:
    """Masks (K, H, W), bool, at another size, sampled as in mmdet."""
    small = F.interpolate(masks[None].float(), size, mode="bilinear", align_corners=False)
    return small[0] >= 0.5


def masks_unless_empty(truth: InstanceData) -> InstanceData:
    """Return the boxes and labels of an image's objects; their masks too if none is empty.

    mmdet's assigners take the centre of a mask if there are masks. An empty mask has no centre.
    """
    found = InstanceData(bboxes=truth.bboxes, labels=truth.labels)
    masks = truth.get("masks")
    if masks is not None:
        areas = masks.flatten(1).sum(1) if isinstance(masks, Tensor) else masks.areas
        if (areas > 0).all():
            found.masks = masks
    return found
