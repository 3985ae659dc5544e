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
from mmdet.utils import ConfigType, InstanceList, OptConfigType, OptInstanceList, reduce_mean
from mmengine.dist import get_world_size
from mmengine.structures import InstanceData
from torch import Tensor, nn

from mmlevelset.models.box_levelset.supervision import LOSSES, BoxSupervision, MaskLosses
from mmlevelset.models.box_levelset.targets import Boxes, Positives, assign_cells
from mmlevelset.models.common import ImageFeatures, check_choice, images_of
from mmlevelset.registry import MODELS

DETECTOR = "mmlevelset.BoxLevelSet"


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
        boxes: Index (K,) of each mask's box among the boxes of the batch.
        logits: (K, H, W).
    """

    image: int
    boxes: Tensor
    logits: Tensor


@MODELS.register_module()
class BoxSOLOv2Head(SOLOV2Head):
    """SOLOv2's head, trained by boxes with a level-set energy (Li et al., ECCV 2022).

    The centre and the extent of an object's box choose the cells at which its mask is learned, so
    box supervision reads no masks. Masks are sigmoids of level sets. Inference is mmdet's SOLOv2;
    the results also have the masks' bounding boxes.

    Args:
        *args: Arguments of :class:`mmdet.models.SOLOV2Head`.
        architecture: ``released`` is the architecture of the authors' code and checkpoints: kernels
            from a 1x1 convolution, mask features without norm, and in training the masks of a level
            at twice its resolution. ``mmdet`` is mmdet's SOLOv2.
        supervision: ``box``: boxes alone; ``mask``: true masks, by ``loss_mask`` alone; ``mixed``:
            the true mask of an instance, or its box if the mask is empty.
        inclusive_boxes: Take the boxes' masks from the data, where
            :class:`mmlevelset.datasets.LoadBoxMasks` makes them as the authors' loader does. Only
            with ``box`` supervision. Otherwise the masks have the boxes' exact edges.
        warmup_iters: Iterations before all losses of boxes but the projection begin.
        loss_mask: Loss of logits and true masks (K, H, W) that takes ``reduction_override``, as
            mmdet's DiceLoss.
        loss_projection: Losses (K,) of scores and box masks (K, H, W).
        loss_level_set: :class:`BoxLevelSetLoss`, or None: the projection alone.
        loss_consistency: :class:`LocalConsistencyLoss`, or None.
        loss_pairwise: :class:`BoxPairwiseLoss`, or None.
        image_mean: Mean of each channel that the data preprocessor has subtracted.
            :class:`BoxLevelSet` gives it, as well as the next two.
        image_std: The divisor of each channel.
        image_bgr: The channels of the images are B, G, R; otherwise R, G, B.
        refinement: Config of ``mmlevelset.CropRefinement``, or None; ``in_channels`` is set from
            the mask features'. Refined masks have the same losses as the other masks, named
            ``*_refined``, and replace them in inference.
        **kwargs: Arguments of :class:`mmdet.models.SOLOV2Head`.

    Raises:
        ValueError: An argument is out of its range.
    """

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
        loss_pairwise: OptConfigType = None,
        image_mean: Sequence[float] | None = None,
        image_std: Sequence[float] | None = None,
        image_bgr: bool = False,
        refinement: OptConfigType = None,
        **kwargs,
    ) -> None:
        check_choice("architecture", architecture, ("released", "mmdet"))
        if inclusive_boxes and supervision != "box":
            raise ValueError(
                f"inclusive_boxes must be False with supervision={supervision!r}, where the data's"
                " masks are the objects'"
            )
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
        supervise = BoxSupervision(
            self.mask_feature_head.out_channels,
            supervision,
            warmup_iters,
            loss_mask,
            loss_projection,
            loss_level_set,
            loss_consistency,
            loss_pairwise,
            image_mean,
            image_std,
            image_bgr,
        )
        self.supervision = supervision
        self.inclusive_boxes = inclusive_boxes
        # The losses are modules of the head, as the names in published state dicts are.
        for name in (*LOSSES, "lab_image"):
            setattr(self, name, getattr(supervise, name))
        self._supervise = (supervise,)  # in a tuple, it is no module itself
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

    def loss(self, x: ImageFeatures, batch_data_samples: SampleList, **kwargs) -> dict:
        """Losses of a batch.

        Args:
            x: FPN's features, each (B, C, H', W'), with the normalised, padded images (B, 3, H, W).
            batch_data_samples: Boxes and labels; masks only if they supervise.
            **kwargs: Arguments of mmdet, unused.
        """
        images = images_of(x, DETECTOR)
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
        """Losses of the predictions, in float32, means over the positives of all processes.

        The consistency is a mean over the pixels of the positives' boxes.
        """
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
            # The divisor of SOLOv2: the positives of all processes together, plus one.
            avg_factor = count + 1 / get_world_size()
            losses = dict(loss_cls=self.loss_cls(scores, labels, avg_factor=avg_factor))
            losses.update(
                self._mask_losses(
                    self._groups(kernels, mask_feats, positives, sizes),
                    boxes.edges,
                    batch_gt_instances,
                    batch_img_metas,
                    images,
                    mask_feats,
                )
            )
        return losses

    def _mask_losses(
        self,
        groups: Iterator[Group],
        edges: Tensor,
        instances: InstanceList,
        metas: list[dict],
        images: Tensor,
        mask_feats: Tensor,
    ) -> dict[str, Tensor]:
        """Losses of the masks, and of the refined masks."""
        (supervise,) = self._supervise
        found = [supervise.true_masks(*own) for own in zip(instances, images, strict=True)]
        given = [own for own in found if own is not None]
        masks = torch.cat(given) if given else None
        deep = supervise.deep_features(mask_feats)
        parts: dict[str, list[MaskLosses]] = {}
        for index, box, logits in groups:
            image, features = images[index], mask_feats[index]
            own = None if deep is None else deep[index]
            stages = [("", logits, own)]
            if self.refinement is not None:
                refined = self.refinement(logits, image, features)
                if own is not None and self.refinement.detach:
                    own = own.detach()
                stages.append(("_refined", refined, own))
            shape = metas[index]["img_shape"]
            for suffix, some, maps in stages:
                part = supervise.of_image(some, edges, image, maps, shape, box, masks)
                parts.setdefault(suffix, []).append(part)
        return {
            name + suffix: value
            for suffix, some in parts.items()
            for name, value in supervise.means(some).items()
        }

    def _groups(
        self,
        kernels: Tensor,
        mask_feats: Tensor,
        positives: Positives,
        sizes: Sequence[tuple[int, int]],
    ) -> Iterator[Group]:
        """Yield the positive masks, image by image and resolution by resolution.

        The first group is empty: in a batch without positives, the losses still depend on all
        predictions. Distributed training waits for their gradients.
        """
        nothing = kernels.new_zeros(())
        if len(positives.cell) == 0:
            nothing = kernels[:0].sum() + mask_feats[:0].sum()
        yield Group(0, positives.box[:0], nothing.expand(0, *mask_feats.shape[2:]))
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
                yield Group(index, positives.box[positions], logits)

    def predict(
        self,
        x: Sequence[Tensor],
        batch_data_samples: SampleList,
        rescale: bool = False,
        results_list: OptInstanceList = None,
    ) -> InstanceList:
        """Return mmdet's results; with a refinement, ``x`` must be :class:`ImageFeatures`."""
        images = None if self.refinement is None else images_of(x, DETECTOR)
        return super().predict(x, batch_data_samples, rescale, results_list, images=images)

    def predict_by_feat(
        self,
        mlvl_kernel_preds: list[Tensor],
        mlvl_cls_scores: list[Tensor],
        mask_feats: Tensor,
        batch_img_metas: list[dict],
        images: Tensor | None = None,
        **kwargs,
    ) -> InstanceList:
        """Return mmdet's results, each with the boxes that bound its masks.

        With a refinement, the ``test_cfg.nms_pre`` cells with the best class scores are kept and
        their masks refined on ``images`` (B, 3, H, W). Without a refinement, mmdet keeps as many
        cells, by the class score times the masks' mean probability.
        """
        if self.refinement is None:
            return super().predict_by_feat(
                mlvl_kernel_preds, mlvl_cls_scores, mask_feats, batch_img_metas, **kwargs
            )
        if images is None:
            raise ValueError("images must be given with a refinement, but are None")
        count = len(batch_img_metas)
        kernels = _cells(mlvl_kernel_preds).chunk(count)
        scores = _cells([_peaks(logits.sigmoid()) for logits in mlvl_cls_scores]).chunk(count)
        return [
            self._predict_by_feat_single(*self._refined(*predictions), meta)
            for *predictions, meta in zip(
                kernels, scores, mask_feats, images, batch_img_metas, strict=True
            )
        ]

    def _refined(
        self,
        kernels: Tensor,
        scores: Tensor,
        mask_feats: Tensor,
        image: Tensor,
        cfg: OptConfigType = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return kernels, class scores and mask features that give the refined masks in mmdet.

        Args:
            kernels: Kernels of the N cells (N, E).
            scores: Probabilities of the classes (N, num_classes).
            mask_feats: Mask features of the image (E, H, W).
            image: The normalised image (3, H', W').
            cfg: Settings in place of ``test_cfg``.
        """
        assert self.refinement is not None
        settings = self.test_cfg if cfg is None else cfg
        best = scores.amax(1)
        cells = (best > settings.score_thr).nonzero()[:, 0]
        if 0 < settings.nms_pre < len(cells):
            cells = cells[best[cells].topk(settings.nms_pre).indices]
            others = torch.ones_like(best, dtype=torch.bool).index_fill(0, cells, False)
            scores = scores.masked_fill(others[:, None], 0)
        logits = (kernels[cells] @ mask_feats.flatten(1)).unflatten(1, mask_feats.shape[1:])
        # mmdet multiplies kernels and mask features: unit kernels pick the refined masks.
        refined = self.refinement(logits, image, mask_feats)[None]
        unit = refined.new_zeros(len(kernels), len(cells))
        unit[cells, torch.arange(len(cells), device=cells.device)] = 1
        return unit, scores, refined

    def _predict_by_feat_single(
        self,
        kernel_preds: Tensor,
        cls_scores: Tensor,
        mask_feats: Tensor,
        img_meta: dict,
        cfg: OptConfigType = None,
    ) -> InstanceData:
        results = super()._predict_by_feat_single(
            kernel_preds, cls_scores, mask_feats, img_meta, cfg
        )
        results.labels = results.labels.long()
        results.bboxes = mask2bbox(results.masks).to(results.scores)
        return results


def _cells(levels: Sequence[Tensor]) -> Tensor:
    """Predictions (B * N, C) of the N cells of all levels, from levels (B, C, S, S)."""
    flat = [level.flatten(2).transpose(1, 2) for level in levels]
    return torch.cat(flat, 1).flatten(0, 1)


def _peaks(scores: Tensor) -> Tensor:
    """Scores (B, C, S, S) of a level; a score below a neighbour's becomes zero, as in mmdet."""
    highest = F.max_pool2d(scores, 2, stride=1, padding=1)[:, :, :-1, :-1]
    return scores * (highest == scores)
