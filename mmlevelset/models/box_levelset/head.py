from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from mmcv.cnn import ConvModule
from mmdet.models.dense_heads import SOLOV2Head
from mmdet.models.dense_heads.solov2_head import MaskFeatModule
from mmdet.models.utils import unpack_gt_instances
from mmdet.structures import SampleList
from mmdet.structures.mask import mask2bbox
from mmdet.utils import ConfigType, InstanceList, OptConfigType, reduce_mean
from mmengine.dist import get_world_size
from mmengine.logging import MessageHub
from mmengine.structures import InstanceData
from torch import Tensor, nn

from mmlevelset.models.box_levelset.level_set_loss import Masks
from mmlevelset.models.box_levelset.targets import Boxes, Positives, assign_cells, box_masks
from mmlevelset.registry import MODELS


class PlainMaskFeatures(MaskFeatModule):
    """mmdet's mask features with neither norm nor bias, and a linear last convolution."""

    def _init_layers(self) -> None:
        super()._init_layers()
        for module in self.convs_all_levels.modules():
            if isinstance(module, ConvModule):
                module.conv.register_parameter("bias", None)
        self.conv_pred = nn.Conv2d(self.feat_channels, self.out_channels, 1)


class Group(NamedTuple):
    """Positive masks of one image at one resolution.

    Attributes:
        image: Index of the image in the batch.
        positions: Which positives of the batch these are (K,).
        logits: (K, H, W).
    """

    image: int
    positions: Tensor
    logits: Tensor


@MODELS.register_module()
class BoxSOLOv2Head(SOLOV2Head):
    """SOLOv2's head, trained by boxes with a level-set energy (Li et al., ECCV 2022).

    A box stands for its object's centre and extent, so the cells that a mask is learned at do not
    depend on masks; in box supervision none is read. Masks are sigmoids of level sets. Inference is
    mmdet's SOLOv2, with the masks' bounding boxes added.

    Args:
        *args: Of :class:`mmdet.models.SOLOV2Head`.
        architecture: ``released`` is that of the authors' code, for which there are checkpoints:
            kernels from a 1x1 convolution, mask features without norm, and in training the masks of
            a level at twice its resolution. ``mmdet`` is SOLOv2 as mmdet has it.
        supervision: ``box``; ``mask``: true masks, by ``loss_mask`` alone; ``mixed``: true masks
            where an instance has one, and the box where its mask is empty.
        inclusive_boxes: Box masks are rounded, with the right and bottom pixel included, as the
            authors' data loader made them.
        warmup_iters: Iterations before the level-set energy and the consistency set in.
        loss_mask: Of logits and true masks (K, H, W), with ``reduction_override``, as mmdet's
            DiceLoss.
        loss_projection: Of scores and box masks (K, H, W): losses (K,).
        loss_level_set: :class:`BoxLevelSetLoss`, or None: the projection alone.
        loss_consistency: :class:`LocalConsistencyLoss`; None or a ``loss_weight`` of 0: none.
        refinement: Config of ``mmlevelset.CropRefinement``, or None; ``in_channels`` is set from
            the mask features'. Refined masks have the same losses as the others, named
            ``*_refined``, and take their place in inference.
        **kwargs: Of :class:`mmdet.models.SOLOV2Head`.

    Attributes:
        images: The normalised input images (B, C, H, W) of the current batch, set by
            :class:`BoxLevelSet`; needed for predictions with a refinement.

    Raises:
        ValueError: An argument is out of its range.
    """

    images: Tensor | None = None

    def __init__(
        self,
        *args,
        architecture: str = "released",
        supervision: str = "box",
        inclusive_boxes: bool = False,
        warmup_iters: int = 0,
        loss_mask: ConfigType = dict(type="DiceLoss", use_sigmoid=True, loss_weight=3.0),
        loss_projection: ConfigType = dict(type="mmlevelset.BoxProjectionLoss"),
        loss_level_set: OptConfigType = dict(type="mmlevelset.BoxLevelSetLoss"),
        loss_consistency: OptConfigType = None,
        refinement: OptConfigType = None,
        **kwargs,
    ) -> None:
        _require("architecture", architecture, ("released", "mmdet"))
        _require("supervision", supervision, ("box", "mask", "mixed"))
        if not warmup_iters >= 0:
            raise ValueError(f"warmup_iters must be at least 0, but is {warmup_iters!r}")
        if kwargs.get("dynamic_conv_size", 1) != 1:
            size = kwargs["dynamic_conv_size"]
            raise ValueError(f"dynamic_conv_size must be 1, but is {size!r}")
        if architecture == "released" and kwargs["mask_feature_head"].get("norm_cfg") is not None:
            raise ValueError(
                "mask_feature_head.norm_cfg must be None in the architecture 'released', but is"
                f" {kwargs['mask_feature_head']['norm_cfg']!r}"
            )
        self.architecture = architecture
        self.mask_feature_head: MaskFeatModule
        super().__init__(*args, loss_mask=loss_mask, **kwargs)
        self.supervision = supervision
        self.inclusive_boxes = inclusive_boxes
        self.warmup_iters = warmup_iters
        self.loss_projection = MODELS.build(loss_projection)
        self.loss_level_set = self.loss_consistency = None
        if supervision != "mask" and loss_level_set is not None:
            features = dict(in_channels=self.mask_feature_head.out_channels)
            self.loss_level_set = MODELS.build({**features, **loss_level_set})
        if (
            supervision != "mask"
            and loss_consistency is not None
            and loss_consistency.get("loss_weight") != 0
        ):
            self.loss_consistency = MODELS.build(loss_consistency)
        if architecture == "released":
            settings = {**kwargs["mask_feature_head"], "in_channels": self.in_channels}
            self.mask_feature_head = PlainMaskFeatures(**settings)
        self.refinement: nn.Module | None = None
        if refinement is not None:
            features = dict(in_channels=self.mask_feature_head.out_channels)
            self.refinement = MODELS.build({**features, **refinement})

    def _init_layers(self) -> None:
        super()._init_layers()
        if self.architecture == "released":
            self.conv_kernel = nn.Conv2d(self.feat_channels, self.kernel_out_channels, 1)

    def loss(self, x: Sequence[Tensor], batch_data_samples: SampleList, images: Tensor) -> dict:
        """Losses of a batch.

        Args:
            x: FPN's features, each (B, C, H', W').
            batch_data_samples: Boxes and labels; masks only where they supervise.
            images: The normalised, padded images (B, 3, H, W).
        """
        instances, _, metas = unpack_gt_instances(batch_data_samples)
        kernels, scores, mask_feats = self(x)
        sizes = self.mask_sizes(x)
        return self.loss_by_feat(kernels, scores, mask_feats, sizes, instances, metas, images)

    def mask_sizes(self, x: Sequence[Tensor]) -> list[tuple[int, int]]:
        """Height and width at which the masks of each level are trained."""
        sizes = [(level.shape[-2], level.shape[-1]) for level in x]
        if self.architecture == "mmdet":
            return [sizes[self.mask_feature_head.start_level]] * len(sizes)
        halved = [(height // 2, width // 2) for height, width in sizes[:1]]
        own = [*halved, *sizes[1:-1], sizes[-2]]
        return [(2 * height, 2 * width) for height, width in own]

    def loss_by_feat(
        self,
        mlvl_kernel_preds: list[Tensor],
        mlvl_cls_preds: list[Tensor],
        mask_feats: Tensor,
        sizes: Sequence[tuple[int, int]],
        batch_gt_instances: InstanceList,
        batch_img_metas: list[dict],
        images: Tensor,
    ) -> dict:
        """Losses of the predictions, in float32, means over the positives of all processes."""
        device = images.device.type
        with torch.autocast(device, enabled=False):
            kernels = _cells([level.float() for level in mlvl_kernel_preds])
            scores = _cells([level.float() for level in mlvl_cls_preds])
            mask_feats, images = mask_feats.float(), images.float()
            boxes = Boxes.of(batch_gt_instances, self.inclusive_boxes)
            positives = assign_cells(
                boxes,
                len(images),
                tuple(images.shape[2:]),
                self.num_grids,
                self.scale_ranges,
                self.pos_scale,
            )
            count = reduce_mean(kernels.new_tensor(len(positives.cell)))
            labels = boxes.labels.new_full(scores.shape[:1], self.num_classes)
            labels[positives.cell] = boxes.labels[positives.box]
            # SOLOv2's number of positives plus one, of all processes together.
            avg_factor = count + 1 / get_world_size()
            losses = dict(loss_cls=self.loss_cls(scores, labels, avg_factor=avg_factor))
            masks = None
            if self.supervision != "box":
                masks = _true_masks(batch_gt_instances, tuple(images.shape[2:]), images.device)
            level_set = self.loss_level_set
            deep = level_set.deep_features(mask_feats) if level_set is not None else None
            # Sums of nothing: whatever the batch holds, each loss depends on all it could.
            nothing = kernels.new_zeros(())
            if len(positives.cell) == 0:
                nothing = kernels[:0].sum() + mask_feats[:0].sum()
            sums: dict[str, Tensor] = {name: nothing for name in self._mask_losses()}
            if deep is not None:
                sums["loss_level_set"] = nothing + deep[:0].sum()
            if self.refinement is not None:
                no_masks = self.refinement(mask_feats[0, :0], images[0], mask_feats[0]).sum()
                sums.update({f"{name}_refined": value + no_masks for name, value in sums.items()})
            for group in self._groups(kernels, mask_feats, positives, sizes):
                own = None if deep is None else deep[group.image]
                meta = batch_img_metas[group.image]
                image = images[group.image]
                box = positives.box[group.positions]
                stages = [("", group.logits, own)]
                if self.refinement is not None:
                    refined = self.refinement(group.logits, image, mask_feats[group.image])
                    if own is not None and self.refinement.detach:
                        own = own.detach()
                    stages.append(("_refined", refined, own))
                for suffix, logits, features in stages:
                    for name, value in self._group_losses(
                        group._replace(logits=logits), box, boxes, masks, image, features, meta
                    ).items():
                        sums[name + suffix] = sums[name + suffix] + value.sum()
            count = count.where(count > 0, 1)
            losses.update((name, value / count) for name, value in sums.items())
        return losses

    def _mask_losses(self) -> list[str]:
        names = []
        if self.supervision != "box":
            names.append("loss_mask")
        if self.supervision != "mask":
            names.append("loss_projection")
        if self.loss_level_set is not None:
            names.append("loss_level_set")
        if self.loss_consistency is not None:
            names.append("loss_consistency")
        return names

    def _groups(
        self,
        kernels: Tensor,
        mask_feats: Tensor,
        positives: Positives,
        sizes: Sequence[tuple[int, int]],
    ) -> Iterator[Group]:
        """The positive masks, image by image and resolution by resolution."""
        resolutions = sorted(set(sizes), reverse=True)
        of_level = torch.tensor([resolutions.index(size) for size in sizes])
        per_image = len(kernels) // len(mask_feats)
        image = (positives.cell // per_image).cpu()
        resolution = of_level[positives.level.cpu()]
        for index, features in enumerate(mask_feats):
            for number, size in enumerate(resolutions):
                chosen = (image == index) & (resolution == number)
                positions = chosen.nonzero().squeeze(1).to(kernels.device)
                if len(positions) == 0:
                    continue
                own = kernels[positives.cell[positions]]
                logits = (own @ features.flatten(1)).unflatten(1, features.shape[1:])
                if logits.shape[1:] != size:
                    logits = F.interpolate(
                        logits[None], size, mode="bilinear", align_corners=False
                    )[0]
                yield Group(index, positions, logits)

    def _group_losses(
        self,
        group: Group,
        box: Tensor,
        boxes: Boxes,
        true_masks: Tensor | None,
        image: Tensor,
        deep: Tensor | None,
        meta: dict,
    ) -> dict[str, Tensor]:
        """Losses (K,) of each kind for a group of masks, zero where a kind does not apply."""
        logits = group.logits
        size = logits.shape[1:]
        losses = {}
        if true_masks is not None:
            used, which = box.unique(return_inverse=True)
            has_mask = true_masks[used].flatten(1).any(1)[which]
            targets = _shrunk(true_masks[used], size)[which]
            own = self.loss_mask(logits, targets, reduction_override="none")
            losses["loss_mask"] = torch.where(has_mask, own, 0)
            if self.supervision == "mask" or has_mask.all():
                return losses
            logits, box = logits[~has_mask], box[~has_mask]
        scores = logits.sigmoid()
        inside = box_masks(boxes.edges[box], size, image.shape[1:])
        losses["loss_projection"] = self.loss_projection(scores, inside)
        if self._is_warming_up():
            return losses
        if self.loss_level_set is None and self.loss_consistency is None:
            return losses
        small = F.interpolate(image[None], size, mode="bilinear", align_corners=False)[0]
        if self.loss_level_set is not None:
            domain = inside
            if self.loss_level_set.domain == "image":
                domain = torch.zeros_like(inside)
                rows = round(meta["img_shape"][0] * size[0] / image.shape[1])
                columns = round(meta["img_shape"][1] * size[1] / image.shape[2])
                domain[:, : max(rows, 1), : max(columns, 1)] = True
            losses["loss_level_set"] = self.loss_level_set(Masks(scores, domain, small, deep))
        if self.loss_consistency is not None:
            losses["loss_consistency"] = self.loss_consistency(scores, inside, small)
        return losses

    def _is_warming_up(self) -> bool:
        if not self.warmup_iters:
            return False
        iteration = MessageHub.get_current_instance().get_info("iter", 0)
        return iteration < self.warmup_iters

    def predict_by_feat(
        self,
        mlvl_kernel_preds: list[Tensor],
        mlvl_cls_scores: list[Tensor],
        mask_feats: Tensor,
        batch_img_metas: list[dict],
        **kwargs,
    ) -> InstanceList:
        """As mmdet's; each result also has the boxes that bound its masks.

        With a refinement, the masks of the ``test_cfg.nms_pre`` cells with the best class scores
        are refined, and the other cells dropped. Without one, where more cells are above
        ``score_thr``, mmdet chooses as many by the class score times the masks' mean probability.
        """
        metas = batch_img_metas
        if self.refinement is not None:
            if self.images is None:
                raise RuntimeError(
                    "refinement needs the input images: use the detector type"
                    " 'mmlevelset.BoxLevelSet', or set mask_head.images"
                )
            metas = [
                dict(meta, image=image) for meta, image in zip(metas, self.images, strict=True)
            ]
        return super().predict_by_feat(
            mlvl_kernel_preds, mlvl_cls_scores, mask_feats, metas, **kwargs
        )

    def _predict_by_feat_single(
        self,
        kernel_preds: Tensor,
        cls_scores: Tensor,
        mask_feats: Tensor,
        img_meta: dict,
        cfg: OptConfigType = None,
    ) -> InstanceData:
        if self.refinement is not None:
            settings = self.test_cfg if cfg is None else cfg
            best = cls_scores.amax(1)
            cells = (best > settings.score_thr).nonzero()[:, 0]
            if 0 < settings.nms_pre < len(cells):
                cells = cells[best[cells].topk(settings.nms_pre).indices]
                others = torch.ones_like(best, dtype=torch.bool).index_fill(0, cells, False)
                cls_scores = cls_scores.masked_fill(others[:, None], 0)
            features = mask_feats[0]
            logits = (kernel_preds[cells] @ features.flatten(1)).unflatten(1, features.shape[1:])
            # mmdet takes masks from mask features by kernels: from refined masks by unit kernels.
            mask_feats = self.refinement(logits, img_meta["image"], features)[None]
            kernel_preds = mask_feats.new_zeros(len(kernel_preds), len(cells))
            kernel_preds[cells, torch.arange(len(cells), device=cells.device)] = 1
        results = super()._predict_by_feat_single(
            kernel_preds, cls_scores, mask_feats, img_meta, cfg
        )
        results.labels = results.labels.long()
        results.bboxes = mask2bbox(results.masks).to(results.scores)
        return results


def _cells(levels: Sequence[Tensor]) -> Tensor:
    """Predictions (B * N, C) of all cells, from levels (B, C, S, S)."""
    flat = [level.flatten(2).transpose(1, 2) for level in levels]
    return torch.cat(flat, 1).flatten(0, 1)


def _true_masks(
    instances: Sequence[InstanceData], size: Sequence[int], device: torch.device
) -> Tensor:
    """All masks of the batch (G, H, W), bool, on the padded images."""
    padded = [one.masks.pad(size).to_tensor(torch.bool, device) for one in instances]
    return torch.cat(padded)


def _shrunk(masks: Tensor, size: Sequence[int]) -> Tensor:
    """Masks (K, H, W), bool, at another size, sampled as mmdet does."""
    small = F.interpolate(masks[None].float(), size, mode="bilinear", align_corners=False)
    return small[0] >= 0.5


def _require(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise ValueError(f"{name} must be one of {', '.join(known)}, but is {value!r}")
